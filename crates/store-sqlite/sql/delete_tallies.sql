DELETE FROM tallies WHERE span = ?1 AND at < ?2;
