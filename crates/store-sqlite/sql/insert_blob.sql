INSERT INTO blobs (digest, content) VALUES (?1, ?2) ON CONFLICT (digest) DO NOTHING;
