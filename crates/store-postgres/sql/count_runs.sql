SELECT count(*) FROM (SELECT 1 FROM {schema}.runs WHERE status = $1::text LIMIT $2::bigint) AS r;
