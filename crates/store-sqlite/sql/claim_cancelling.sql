-- Runs with a cancel that a person waits for: neither a pause nor a limit holds them back.
SELECT id, priority, plan, NULL FROM runs INDEXED BY runs_cancelling
WHERE ready = 1 AND cancel IS NOT NULL AND plan NOT IN (SELECT value FROM json_each(?1))
  AND (requires IS NULL OR requires NOT IN (SELECT value FROM json_each(?2)))
ORDER BY priority DESC, id;
