SELECT count(*) FROM (SELECT 1 FROM runs INDEXED BY runs_running WHERE status = 'running' AND ?1 = 'running' LIMIT ?2);
