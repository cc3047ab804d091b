SELECT kind, id, version, updated_at, expires_at, data FROM documents
WHERE kind = ?1 AND id = ?2 AND (expires_at IS NULL OR expires_at > ?3);
