-- Running runs of a worker with a requested cancel.
SELECT id, cancel FROM runs WHERE status = 'running' AND cancel IS NOT NULL AND worker = ?1 ORDER BY id;
