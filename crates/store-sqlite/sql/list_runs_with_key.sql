-- Runs with a key, newest first. Cancelled ones are not in the index of keys.
SELECT id FROM (
    SELECT id, status, workflow, queue FROM runs INDEXED BY runs_key WHERE key = ?4 AND status <> 'cancelled'
    UNION ALL
    SELECT id, status, workflow, queue FROM runs INDEXED BY runs_unhappy
    WHERE status = 'cancelled' AND (status = 'failed' OR status = 'cancelled') AND key = ?4
)
WHERE id > ?7 AND id < ?5 AND (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR workflow = ?2) AND (?3 IS NULL OR queue = ?3)
ORDER BY id DESC LIMIT ?6;
