-- Every record, or those with a name. Parameters that a listing does not use are null.
SELECT kind, name, run, data, created_at, updated_at FROM {schema}.records
WHERE ($1::text IS NULL OR kind = $1) AND ($2::text IS NULL OR name = $2) AND ($3::uuid IS NULL OR run = $3)
  AND ($4::text IS NULL OR name > $4) AND ($5::text IS NULL OR name >= $5 AND name < $6::text)
ORDER BY kind, name LIMIT $7::bigint;
