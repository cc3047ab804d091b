-- The workers that are registered, and how many runs each holds.
SELECT id, name, started_at, heartbeat_at, expires_at,
       (SELECT count(*) FROM runs WHERE status = 'running' AND worker = workers.id)
FROM workers ORDER BY id;
