INSERT INTO {schema}.snapshot_blobs (run, digest)
SELECT DISTINCT $1::uuid, digest FROM unnest($2::bytea[]) AS u (digest) ORDER BY digest
ON CONFLICT (run, digest) DO UPDATE SET pending = false WHERE snapshot_blobs.pending;
