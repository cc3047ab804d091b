-- Those of these workers that have sent no heartbeat since, but for those that another process is burying just now.
SELECT w.id, w.name
FROM {schema}.workers AS w
JOIN unnest($1::uuid[], $2::bigint[]) AS silent (id, heartbeat_at) ON w.id = silent.id AND w.heartbeat_at = silent.heartbeat_at
ORDER BY w.id FOR UPDATE OF w SKIP LOCKED;
