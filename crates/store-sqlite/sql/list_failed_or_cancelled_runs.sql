-- Failed or cancelled runs, newest first.
SELECT id FROM runs
WHERE status = ?1 AND (status = 'failed' OR status = 'cancelled') AND id > ?7 AND id < ?5 AND (?2 IS NULL OR workflow = ?2)
  AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR key = ?4)
ORDER BY id DESC LIMIT ?6;
