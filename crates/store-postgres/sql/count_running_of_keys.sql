-- Running runs of each concurrency key in queues that limit them.
SELECT queue, concurrency_key, count(*) FROM {schema}.runs
WHERE status = 'running' AND concurrency_key IS NOT NULL AND queue IN (
    SELECT name FROM {schema}.queues WHERE name = ANY ($1::text[]) AND concurrency_per_key IS NOT NULL
)
GROUP BY queue, concurrency_key;
