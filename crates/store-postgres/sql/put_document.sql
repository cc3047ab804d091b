-- Writes a document if the current one is as expected: $6 is null for any, 0 for none, else a
-- version. An expired document counts as none.
INSERT INTO {schema}.documents AS d (kind, id, version, updated_at, expires_at, data)
SELECT $1::text, $2::text, 1, $3::bigint, $4::bigint, $5::text
WHERE coalesce($6::bigint, 0) = 0 OR EXISTS (SELECT 1 FROM {schema}.documents WHERE kind = $1 AND id = $2)
ON CONFLICT (kind, id) DO UPDATE SET
    version = CASE WHEN d.expires_at <= $3 THEN 1 ELSE d.version + 1 END,
    updated_at = excluded.updated_at, expires_at = excluded.expires_at, data = excluded.data
WHERE $6 IS NULL OR $6 = CASE WHEN d.expires_at <= $3 THEN 0 ELSE d.version END
RETURNING version;
