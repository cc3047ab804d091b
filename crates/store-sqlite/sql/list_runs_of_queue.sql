-- Runs of a queue, newest first.
SELECT id FROM runs INDEXED BY runs_queue
WHERE queue = ?3 AND id > ?7 AND id < ?5 AND (?1 IS NULL OR status = ?1) AND (?4 IS NULL OR key = ?4)
ORDER BY id DESC LIMIT ?6;
