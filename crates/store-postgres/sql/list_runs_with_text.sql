-- Runs whose key or unique value begins with a text (from $9 up to $10), or whose id is $11, newest
-- first.
SELECT id FROM (
    SELECT id, status, workflow, queue, key, worker FROM {schema}.runs WHERE key >= $9::text AND key < $10::text
    UNION
    SELECT id, status, workflow, queue, key, worker FROM {schema}.runs WHERE uniq >= $9 AND uniq < $10
    UNION
    SELECT id, status, workflow, queue, key, worker FROM {schema}.runs WHERE id = $11::uuid
) AS named
WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR workflow = $2) AND ($3::text IS NULL OR queue = $3)
  AND ($4::text IS NULL OR key = $4) AND id BETWEEN $5::uuid AND $6::uuid AND ($7::uuid IS NULL OR worker = $7)
ORDER BY id DESC LIMIT $8::bigint;
