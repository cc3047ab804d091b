INSERT INTO records (kind, name, run, data, created_at, updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
ON CONFLICT (kind, name) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at;
