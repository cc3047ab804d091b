-- Runs held by a worker without a row: it lost its lease while it claimed them.
SELECT id, plan, parameters, key, uniq, priority, concurrency_key, created_at,
       status, progress, error, started_at, completed_at, available_at, worker, epoch, cancel, event_seq, commits, requires,
       sealed, workflow, queue
FROM {schema}.runs AS r
WHERE status = 'running' AND NOT EXISTS (SELECT 1 FROM {schema}.workers AS w WHERE w.id = r.worker)
ORDER BY id FOR UPDATE OF r SKIP LOCKED;
