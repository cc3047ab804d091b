-- Ended runs of a queue and outcome that still have details, except the ?3 newest.
SELECT id FROM runs
WHERE details = 1 AND completed_at IS NOT NULL AND queue = ?1 AND status = ?2
ORDER BY completed_at DESC, id DESC LIMIT ?4 OFFSET ?3;
