DELETE FROM {schema}.documents WHERE kind = $1::text AND id = $2::text RETURNING expires_at IS NULL OR expires_at > $3::bigint;
