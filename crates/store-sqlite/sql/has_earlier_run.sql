-- Returns whether a run waits in the queue that must start before a new one of this priority.
SELECT EXISTS (SELECT 1 FROM runs WHERE ready = 1 AND started_at IS NULL AND queue = ?1 AND priority >= ?2)
    OR EXISTS (SELECT 1 FROM runs WHERE ready = 1 AND started_at IS NOT NULL AND queue = ?1 AND priority >= ?2);
