-- Runs with a cancel that a person waits for: neither a pause nor a limit holds them back.
SELECT id, plan, parameters, key, uniq, priority, concurrency_key, created_at,
       status, progress, error, started_at, completed_at, available_at, worker, epoch, cancel, event_seq, commits, requires,
       sealed, workflow, queue
FROM {schema}.runs WHERE ready AND cancel IS NOT NULL AND plan <> ALL ($1::integer[])
  AND requires <@ $2::text[] AND id <> ALL ($4::uuid[])
ORDER BY priority DESC, id LIMIT $3::bigint FOR UPDATE SKIP LOCKED;
