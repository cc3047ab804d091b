-- Runs of a queue that never ran, in claim order, without those whose plan the worker cannot run,
-- those that require something it does not offer ($7), and those whose key is full. If the queue
-- was seen without limits, it may have some by now: then no row is returned. $6 says that its
-- limits were seen, and that it is locked.
SELECT id, plan, parameters, key, uniq, priority, concurrency_key, created_at,
       status, progress, error, started_at, completed_at, available_at, worker, epoch, cancel, event_seq, commits, requires,
       sealed, workflow, queue
FROM {schema}.runs
WHERE ready AND started_at IS NULL AND queue = $1::text AND cancel IS NULL AND plan <> ALL ($2::integer[])
  AND requires <@ $7::text[]
  AND (concurrency_key IS NULL OR concurrency_key <> ALL ($3::text[])) AND id <> ALL ($4::uuid[])
  AND ($6::boolean OR NOT EXISTS (SELECT 1 FROM {schema}.queues WHERE name = $1 AND limited))
ORDER BY priority DESC, id LIMIT $5::bigint FOR UPDATE SKIP LOCKED;
