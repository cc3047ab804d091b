SELECT at, queue, outcome, slot, count FROM tallies WHERE span = ?1 AND at >= ?2;
