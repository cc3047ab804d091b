SELECT count(*) FROM runs WHERE status = 'running' AND queue = ?1;
