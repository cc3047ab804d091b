INSERT INTO {schema}.workers AS w (id, name, lease, version, actions, started_at, heartbeat_at, expires_at)
SELECT $1::uuid, $2::text, $3::bigint, $4::text, $5::text, now, now, now + $3
FROM (SELECT coalesce($6::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS clock
ON CONFLICT (id) DO UPDATE SET name = excluded.name, lease = excluded.lease, heartbeat_at = excluded.heartbeat_at,
                               expires_at = excluded.expires_at, version = excluded.version, actions = excluded.actions;
