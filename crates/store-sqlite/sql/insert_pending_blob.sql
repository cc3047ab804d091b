INSERT INTO snapshot_blobs (run, digest, pending) VALUES (?1, ?2, 1) ON CONFLICT (run, digest) DO NOTHING;
