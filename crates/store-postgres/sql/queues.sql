-- Every queue that has limits, is paused, or has had a run.
SELECT name, paused, concurrency, concurrency_per_key, rate_max, rate_per, completed_age, completed_count, failed_age,
       failed_count, cancelled_age, cancelled_count, workflows, actions
FROM {schema}.queues
UNION ALL
SELECT DISTINCT queue, false, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
       NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::text[], NULL::text[]
FROM {schema}.plans WHERE used AND queue NOT IN (SELECT name FROM {schema}.queues)
ORDER BY 1;
