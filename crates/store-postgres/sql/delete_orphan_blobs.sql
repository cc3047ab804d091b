-- The given contents that no run needs any more.
DELETE FROM {schema}.blobs AS b WHERE digest = ANY ($1::bytea[])
AND NOT EXISTS (SELECT 1 FROM {schema}.snapshot_blobs AS s WHERE s.digest = b.digest);
