-- Number of live runs of each queue, by status. Each part reads one partial index.
SELECT queue, status, count(*) FROM (
    SELECT queue, status FROM {schema}.runs WHERE ready AND started_at IS NULL
    UNION ALL SELECT queue, status FROM {schema}.runs WHERE ready AND started_at IS NOT NULL
    UNION ALL SELECT queue, status FROM {schema}.runs WHERE ready IS FALSE
    UNION ALL SELECT queue, status FROM {schema}.runs WHERE status = 'waiting' AND available_at IS NULL
    UNION ALL SELECT queue, 'running' FROM {schema}.runs WHERE status = 'running'
) AS live GROUP BY queue, status;
