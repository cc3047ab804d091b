-- The newest run with a key.
SELECT id FROM runs WHERE key = ?2 AND workflow = ?1 AND status <> 'cancelled'
ORDER BY id DESC LIMIT 1;
