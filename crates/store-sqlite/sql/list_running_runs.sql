-- Running runs, newest first.
SELECT id FROM runs INDEXED BY runs_running
WHERE status = 'running' AND ?1 = 'running' AND +id > ?7 AND +id < ?5 AND (?2 IS NULL OR workflow = ?2)
  AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR key = ?4) AND (?8 IS NULL OR worker = ?8)
ORDER BY +id DESC LIMIT ?6;
