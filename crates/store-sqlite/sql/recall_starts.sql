-- Counts recent first starts of a queue for the rate that it was just given: the newest ?3, since
-- more than the rate allows make no difference. A run that started after ?2 is live, or ended after
-- ?2.
UPDATE runs SET rate_at = started_at
WHERE rate_at IS NULL AND id IN (
    SELECT id FROM (
        SELECT id, started_at FROM runs WHERE status = 'running' AND queue = ?1
        UNION ALL SELECT id, started_at FROM runs WHERE ready = 1 AND started_at IS NOT NULL AND queue = ?1
        UNION ALL SELECT id, started_at FROM runs INDEXED BY runs_due WHERE ready = 0 AND queue = ?1
        UNION ALL SELECT id, started_at FROM runs WHERE status = 'waiting' AND available_at IS NULL AND queue = ?1
        UNION ALL SELECT id, started_at FROM runs WHERE details = 1 AND completed_at IS NOT NULL AND queue = ?1
            AND status IN ('completed', 'failed', 'cancelled') AND completed_at > ?2
    )
    WHERE started_at > ?2 ORDER BY started_at DESC LIMIT ?3
);
