-- A run's own row, for loading it. Every statement that loads runs has these columns.
SELECT id, plan, parameters, key, uniq, priority, concurrency_key, created_at,
       status, progress, error, started_at, completed_at, available_at, worker, epoch, cancel, event_seq, commits, requires,
       sealed, workflow, queue
FROM runs WHERE id = ?1;
