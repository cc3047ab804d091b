DELETE FROM documents WHERE kind = ?1 AND id = ?2;
