SELECT 1 FROM runs WHERE id = ?1 AND worker = ?2 AND epoch = ?3 AND status = 'running';
