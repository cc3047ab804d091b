INSERT INTO queues (name, concurrency, concurrency_per_key, rate_max, rate_per, completed_age, completed_count, failed_age,
                    failed_count, cancelled_age, cancelled_count, workflows, actions)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)
ON CONFLICT (name) DO UPDATE SET
    concurrency = excluded.concurrency, concurrency_per_key = excluded.concurrency_per_key,
    rate_max = excluded.rate_max, rate_per = excluded.rate_per,
    completed_age = excluded.completed_age, completed_count = excluded.completed_count,
    failed_age = excluded.failed_age, failed_count = excluded.failed_count,
    cancelled_age = excluded.cancelled_age, cancelled_count = excluded.cancelled_count,
    workflows = excluded.workflows, actions = excluded.actions;
