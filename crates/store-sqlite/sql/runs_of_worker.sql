-- Runs held by a worker. Reads all of runs_running, a covering index with as many rows as there are
-- running runs.
SELECT id FROM runs INDEXED BY runs_running WHERE status = 'running' AND worker = ?1 ORDER BY id;
