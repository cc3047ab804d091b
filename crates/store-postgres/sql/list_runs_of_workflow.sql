-- Runs of a workflow between two ids, newest first.
SELECT id FROM {schema}.runs
WHERE workflow = $2::text AND ($1::text IS NULL OR status = $1) AND ($3::text IS NULL OR queue = $3)
  AND ($4::text IS NULL OR key = $4) AND id BETWEEN $5::uuid AND $6::uuid AND ($7::uuid IS NULL OR worker = $7)
ORDER BY id DESC LIMIT $8::bigint;
