DELETE FROM documents WHERE (kind, id) IN (
    SELECT kind, id FROM documents WHERE expires_at IS NOT NULL AND expires_at <= ?1 LIMIT ?2
);
