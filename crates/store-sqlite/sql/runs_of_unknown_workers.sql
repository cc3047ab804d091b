-- Running runs whose worker has no row.
SELECT id FROM runs INDEXED BY runs_running WHERE status = 'running' AND worker NOT IN (SELECT id FROM workers) ORDER BY id;
