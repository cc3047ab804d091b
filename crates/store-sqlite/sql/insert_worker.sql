INSERT INTO workers (id, name, lease, started_at, heartbeat_at, expires_at, version, actions, resources,
                     workflows, plan_format)
VALUES (?1, ?2, ?3, ?4, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, lease = excluded.lease, heartbeat_at = excluded.heartbeat_at,
                               expires_at = excluded.expires_at, version = excluded.version, actions = excluded.actions,
                               resources = excluded.resources, workflows = excluded.workflows,
                               plan_format = excluded.plan_format;
