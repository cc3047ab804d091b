-- Runs that wait for a time, earliest first.
SELECT available_at, queue, plan, concurrency_key, started_at IS NULL, cancel IS NOT NULL, requires
FROM runs INDEXED BY runs_due
WHERE ready = 0 ORDER BY available_at;
