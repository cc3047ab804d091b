INSERT INTO snapshot_blobs (run, digest) VALUES (?1, ?2) ON CONFLICT (run, digest) DO NOTHING;
