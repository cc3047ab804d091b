-- Runs whose key or unique value begins with a text (from ?9 up to ?10) or whose id is ?11, newest
-- first. Cancelled ones are in neither index. The indexes are named because SQLite, which pushes
-- the bounds of the ids down to each part, would rather scan the whole table by id. (?8 belongs to
-- another listing.)
SELECT id FROM (
    SELECT id, status, workflow, queue, key FROM runs INDEXED BY runs_key
    WHERE key >= ?9 AND key < ?10 AND status <> 'cancelled'
    UNION
    SELECT id, status, workflow, queue, key FROM runs INDEXED BY runs_uniq
    WHERE uniq >= ?9 AND uniq < ?10 AND status <> 'cancelled'
    UNION
    SELECT id, status, workflow, queue, key FROM runs INDEXED BY runs_unhappy
    WHERE status = 'cancelled' AND (status = 'failed' OR status = 'cancelled')
      AND (key >= ?9 AND key < ?10 OR uniq >= ?9 AND uniq < ?10)
    UNION
    SELECT id, status, workflow, queue, key FROM runs WHERE id = ?11
)
WHERE id > ?7 AND id < ?5 AND (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR workflow = ?2)
  AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR key = ?4)
ORDER BY id DESC LIMIT ?6;
