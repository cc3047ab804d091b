-- A blob sorts after every text.
SELECT kind, id, version, updated_at, expires_at, data FROM documents
WHERE kind = ?1 AND id < ifnull(?2, x'') AND (expires_at IS NULL OR expires_at > ?3)
ORDER BY id DESC LIMIT ?4;
