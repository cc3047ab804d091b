DELETE FROM {schema}.documents WHERE (kind, id) IN (
    SELECT kind, id FROM {schema}.documents WHERE expires_at IS NOT NULL AND expires_at <= $1::bigint
    LIMIT $2::bigint FOR UPDATE SKIP LOCKED
);
