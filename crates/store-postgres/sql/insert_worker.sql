-- Makes a worker known, unless the schema was brought to a version that no longer tolerates what it knows ($7): then there is
-- no row. Asked here and not only when the store is opened: a process may have been frozen for long.
INSERT INTO {schema}.workers AS w (id, name, lease, version, actions, resources, started_at, heartbeat_at, expires_at)
SELECT $1::uuid, $2::text, $3::bigint, $4::text, $5::text, $8::text, now, now, now + $3
FROM (SELECT coalesce($6::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS clock
WHERE NOT EXISTS (SELECT 1 FROM {schema}.migrations WHERE tolerates > $7::integer)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, lease = excluded.lease, heartbeat_at = excluded.heartbeat_at,
                               expires_at = excluded.expires_at, version = excluded.version, actions = excluded.actions,
                               resources = excluded.resources
RETURNING id;
