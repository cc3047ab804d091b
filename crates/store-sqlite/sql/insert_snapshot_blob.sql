INSERT INTO snapshot_blobs (run, digest) VALUES (?1, ?2)
ON CONFLICT (run, digest) DO UPDATE SET pending = 0 WHERE pending = 1;
