-- Runs' own rows, for loading them. Every statement that loads runs has these columns.
SELECT id, plan, parameters, key, uniq, priority, concurrency_key, created_at,
       status, progress, error, started_at, completed_at, available_at, worker, epoch, cancel, event_seq, commits, requires,
       sealed, workflow, queue
FROM {schema}.runs WHERE id = ANY ($1::uuid[]);
