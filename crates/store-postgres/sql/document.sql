SELECT kind, id, version, updated_at, expires_at, data FROM {schema}.documents
WHERE kind = $1::text AND id = $2::text AND (expires_at IS NULL OR expires_at > $3::bigint);
