INSERT INTO documents (kind, id, version, updated_at, expires_at, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (kind, id) DO UPDATE SET version = excluded.version, updated_at = excluded.updated_at,
                                     expires_at = excluded.expires_at, data = excluded.data;
