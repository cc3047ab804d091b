-- Whether a commit took place whose answer got lost.
SELECT id, cancel FROM {schema}.runs AS r
WHERE EXISTS (
    SELECT 1 FROM unnest($1::uuid[], $2::bigint[]) AS u (run, token) WHERE u.run = r.id AND u.token = r.token
) AND id = ANY ($1::uuid[]);
