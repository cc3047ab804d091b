-- Number of live runs of each queue, by status. Each part reads one partial index and no table.
SELECT queue, status, count(*) FROM (
    SELECT queue, status FROM runs INDEXED BY runs_fresh WHERE ready = 1 AND started_at IS NULL
    UNION ALL SELECT queue, status FROM runs INDEXED BY runs_resumed WHERE ready = 1 AND started_at IS NOT NULL
    UNION ALL SELECT queue, status FROM runs INDEXED BY runs_due WHERE ready = 0
    UNION ALL SELECT queue, status FROM runs INDEXED BY runs_asking WHERE status = 'waiting' AND available_at IS NULL
    UNION ALL SELECT queue, 'running' FROM runs WHERE status = 'running'
) GROUP BY queue, status;
