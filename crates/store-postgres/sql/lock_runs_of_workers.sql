-- Runs of these workers, to be reclaimed. A row that is being written is skipped, since waiting for
-- it could deadlock; the next sweep finds it as a run of an unknown worker.
SELECT id, plan, parameters, key, uniq, priority, concurrency_key, created_at,
       status, progress, error, started_at, completed_at, available_at, worker, epoch, cancel, event_seq, commits, requires,
       sealed, workflow, queue
FROM {schema}.runs WHERE status = 'running' AND worker = ANY ($1::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED;
