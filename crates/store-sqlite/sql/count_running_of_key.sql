SELECT count(*) FROM runs WHERE status = 'running' AND queue = ?1 AND concurrency_key = ?2;
