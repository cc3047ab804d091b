INSERT INTO {schema}.blobs (digest, content)
SELECT * FROM unnest($1::bytea[], $2::bytea[]) AS u (digest, content) ORDER BY digest
ON CONFLICT (digest) DO NOTHING;
