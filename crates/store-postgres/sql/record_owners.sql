-- Owners of these records.
SELECT kind, name, run FROM {schema}.records
WHERE (kind, name) IN (SELECT * FROM unnest($1::text[], $2::text[]));
