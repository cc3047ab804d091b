SELECT name, paused, concurrency, concurrency_per_key, rate_max, rate_per, completed_age, completed_count, failed_age,
       failed_count, cancelled_age, cancelled_count, workflows, actions
FROM queues WHERE name = ?1;
