-- The run that has a key.
SELECT id FROM runs WHERE key = ?2 AND workflow = ?1 AND status <> 'cancelled';
