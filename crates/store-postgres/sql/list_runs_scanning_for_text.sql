-- Like list_runs_with_text, for a prefix that very many runs share: scans the table itself, and
-- soon has enough.
SELECT id FROM {schema}.runs
WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR workflow = $2) AND ($3::text IS NULL OR queue = $3)
  AND ($4::text IS NULL OR key = $4) AND id BETWEEN $5::uuid AND $6::uuid AND ($7::uuid IS NULL OR worker = $7)
  -- Worded so that no index of keys is used: the rows it finds would have to be sorted.
  AND (coalesce(key >= $9::text AND key < $10::text, false) OR coalesce(uniq >= $9 AND uniq < $10, false) OR id = $11::uuid)
ORDER BY id DESC LIMIT $8::bigint;
