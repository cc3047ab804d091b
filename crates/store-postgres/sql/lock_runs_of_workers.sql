-- What these workers hold, to be taken from them. A row that is being written just now is left: the next sweep finds it as
-- a run of nobody's. To wait for it here could be to wait for each other.
SELECT id, plan, parameters, key, uniq, priority, concurrency_key, created_at,
       status, progress, error, started_at, completed_at, available_at, worker, epoch, cancel, event_seq, commits, requires,
       sealed, workflow, queue
FROM {schema}.runs WHERE status = 'running' AND worker = ANY ($1::uuid[]) ORDER BY id FOR UPDATE SKIP LOCKED;
