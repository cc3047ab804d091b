-- The newest run with a unique value.
SELECT id FROM runs WHERE uniq = ?2 AND workflow = ?1 AND status <> 'cancelled'
ORDER BY id DESC LIMIT 1;
