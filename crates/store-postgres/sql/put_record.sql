-- No row if another run owns the record.
INSERT INTO {schema}.records AS r (kind, name, run, data, created_at, updated_at)
VALUES ($1::text, $2::text, $3::uuid, $4::text, $5::bigint, $5)
ON CONFLICT (kind, name) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at
WHERE r.run = excluded.run
RETURNING 1;
