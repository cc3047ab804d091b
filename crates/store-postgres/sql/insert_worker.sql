-- Registers a worker, unless the schema was migrated to a version that no longer tolerates this
-- build's ($7): then no row is returned. This is checked here and not only at open, because a
-- process may have been frozen for long.
INSERT INTO {schema}.workers AS w (id, name, lease, version, actions, resources, workflows,
                                plan_format, started_at, heartbeat_at, expires_at)
SELECT $1::uuid, $2::text, $3::bigint, $4::text, $5::text, $8::text, $9::text, $10::integer,
       now, now, now + $3
FROM (SELECT coalesce($6::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS clock
WHERE NOT EXISTS (SELECT 1 FROM {schema}.migrations WHERE tolerates > $7::integer)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, lease = excluded.lease, heartbeat_at = excluded.heartbeat_at,
                               expires_at = excluded.expires_at, version = excluded.version, actions = excluded.actions,
                               resources = excluded.resources, workflows = excluded.workflows,
                               plan_format = excluded.plan_format
RETURNING id;
