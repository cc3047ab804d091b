-- Queued or waiting runs, from their partial indexes.
SELECT count(*) FROM (
    SELECT 1 FROM (
        SELECT status FROM runs INDEXED BY runs_fresh WHERE ready = 1 AND started_at IS NULL
        UNION ALL SELECT status FROM runs INDEXED BY runs_resumed WHERE ready = 1 AND started_at IS NOT NULL
        UNION ALL SELECT status FROM runs INDEXED BY runs_due WHERE ready = 0
        UNION ALL SELECT status FROM runs INDEXED BY runs_asking WHERE status = 'waiting' AND available_at IS NULL
    )
    WHERE status = ?1 LIMIT ?2
);
