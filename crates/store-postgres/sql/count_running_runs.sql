SELECT count(*) FROM (SELECT 1 FROM {schema}.runs WHERE status = 'running' AND $1::text = 'running' LIMIT $2::bigint) AS r;
