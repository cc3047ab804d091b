INSERT INTO {schema}.snapshot_blobs (run, digest)
SELECT $1::uuid, digest FROM unnest($2::bytea[]) AS u (digest) ORDER BY digest
ON CONFLICT (run, digest) DO NOTHING;
