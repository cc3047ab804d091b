SELECT kind, id, version, updated_at, expires_at, data FROM {schema}.documents
WHERE kind = $1::text AND ($2::text IS NULL OR id > $2) AND (expires_at IS NULL OR expires_at > $3::bigint)
ORDER BY id LIMIT $4::bigint;
