-- Runs of a queue that ran before, in claim order, without those whose plan the worker cannot run
-- and those that require something it lacks.
SELECT id, priority, plan, concurrency_key FROM runs INDEXED BY runs_resumed
WHERE ready = 1 AND started_at IS NOT NULL AND queue = ?1 AND cancel IS NULL
  AND plan NOT IN (SELECT value FROM json_each(?2))
  AND (requires IS NULL OR requires NOT IN (SELECT value FROM json_each(?3)))
ORDER BY priority DESC, id;
