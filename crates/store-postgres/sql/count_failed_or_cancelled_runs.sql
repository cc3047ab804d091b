SELECT count(*) FROM (
    SELECT 1 FROM {schema}.runs WHERE status = $1::text AND status IN ('failed', 'cancelled') LIMIT $2::bigint
) AS r;
