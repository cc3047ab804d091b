-- Ended runs of a queue and outcome that ended before a time and still have details.
SELECT id FROM runs
WHERE details = 1 AND completed_at IS NOT NULL AND queue = ?1 AND status = ?2 AND completed_at < ?3
ORDER BY completed_at LIMIT ?4;
