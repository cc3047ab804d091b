-- The given workers that have sent no heartbeat since, except those that another process is
-- removing.
SELECT w.id, w.name
FROM {schema}.workers AS w
JOIN unnest($1::uuid[], $2::bigint[]) AS silent (id, heartbeat_at) ON w.id = silent.id AND w.heartbeat_at = silent.heartbeat_at
ORDER BY w.id FOR UPDATE OF w SKIP LOCKED;
