-- Live workers, with the number of runs that each holds.
SELECT id, name, started_at, heartbeat_at, expires_at,
       (SELECT count(*) FROM runs INDEXED BY runs_running WHERE status = 'running' AND worker = workers.id),
       version, actions, resources, workflows, plan_format
FROM workers WHERE expires_at > ?1 ORDER BY started_at, id;
