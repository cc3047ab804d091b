-- Every queue that has limits, is paused, or has had a run.
SELECT name, paused, concurrency, concurrency_per_key, rate_max, rate_per, completed_age, completed_count, failed_age,
       failed_count, cancelled_age, cancelled_count, workflows, actions
FROM queues
UNION ALL
SELECT DISTINCT queue, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
FROM plans WHERE queue NOT IN (SELECT name FROM queues)
ORDER BY 1;
