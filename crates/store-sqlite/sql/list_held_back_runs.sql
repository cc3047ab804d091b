-- Queued or waiting runs, newest first, from their partial indexes.
SELECT id FROM (
    SELECT id, status, workflow, queue, key FROM runs INDEXED BY runs_fresh WHERE ready = 1 AND started_at IS NULL
    UNION ALL SELECT id, status, workflow, queue, key FROM runs INDEXED BY runs_resumed WHERE ready = 1 AND started_at IS NOT NULL
    UNION ALL SELECT id, status, workflow, queue, key FROM runs INDEXED BY runs_due WHERE ready = 0
    UNION ALL SELECT id, status, workflow, queue, key FROM runs INDEXED BY runs_asking WHERE status = 'waiting' AND available_at IS NULL
)
WHERE status = ?1 AND +id > ?7 AND +id < ?5 AND (?2 IS NULL OR workflow = ?2) AND (?3 IS NULL OR queue = ?3)
  AND (?4 IS NULL OR key = ?4)
ORDER BY +id DESC LIMIT ?6;
