-- Runs that failed at ?12 or later, newest first. (?8 belongs to another listing.)
SELECT id FROM runs INDEXED BY runs_failed
WHERE status = 'failed' AND completed_at >= ?12 AND id > ?7 AND id < ?5 AND (?1 IS NULL OR status = ?1)
  AND (?2 IS NULL OR workflow = ?2) AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR key = ?4)
  AND (?9 IS NULL OR key >= ?9 AND key < ?10 OR uniq >= ?9 AND uniq < ?10 OR id = ?11)
ORDER BY id DESC LIMIT ?6;
