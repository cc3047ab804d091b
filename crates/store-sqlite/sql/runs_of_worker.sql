-- What a worker holds. It reads all of runs_running, which has no table behind it and as many rows as runs are running.
SELECT id FROM runs INDEXED BY runs_running WHERE status = 'running' AND worker = ?1 ORDER BY id;
