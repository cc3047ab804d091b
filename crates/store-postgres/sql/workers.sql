-- Live workers, with the number of runs that each holds.
SELECT id, name, started_at, heartbeat_at, expires_at,
       (SELECT count(*) FROM {schema}.runs WHERE status = 'running' AND worker = w.id),
       version, actions, resources, workflows, plan_format
FROM {schema}.workers AS w
WHERE expires_at > coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
ORDER BY started_at, id;
