SELECT count(*) FROM (SELECT 1 FROM runs WHERE status = ?1 LIMIT ?2);
