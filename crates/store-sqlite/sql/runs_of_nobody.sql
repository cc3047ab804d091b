-- Runs that are held by a worker of which nothing is known.
SELECT id FROM runs INDEXED BY runs_running WHERE status = 'running' AND worker NOT IN (SELECT id FROM workers) ORDER BY id;
