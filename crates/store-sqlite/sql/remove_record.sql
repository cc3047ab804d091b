DELETE FROM records WHERE kind = ?1 AND name = ?2 AND run = ?3;
