-- Number of keys and unique values that begin with a text (from $1 up to $2), up to $3 of each.
SELECT (SELECT count(*) FROM (
            SELECT FROM {schema}.runs WHERE key >= $1::text AND key < $2::text LIMIT $3::bigint) AS keys)
     + (SELECT count(*) FROM (
            SELECT FROM {schema}.runs WHERE uniq >= $1 AND uniq < $2 LIMIT $3) AS uniqs);
