INSERT INTO {schema}.queues (name, concurrency, concurrency_per_key, rate_max, rate_per, completed_age, completed_count,
                             failed_age, failed_count, cancelled_age, cancelled_count, workflows, actions)
VALUES ($1::text, $2::bigint, $3::bigint, $4::bigint, $5::bigint, $6::bigint, $7::bigint, $8::bigint, $9::bigint,
        $10::bigint, $11::bigint, $12::text[], $13::text[])
ON CONFLICT (name) DO UPDATE SET
    concurrency = excluded.concurrency, concurrency_per_key = excluded.concurrency_per_key,
    rate_max = excluded.rate_max, rate_per = excluded.rate_per,
    completed_age = excluded.completed_age, completed_count = excluded.completed_count,
    failed_age = excluded.failed_age, failed_count = excluded.failed_count,
    cancelled_age = excluded.cancelled_age, cancelled_count = excluded.cancelled_count,
    workflows = excluded.workflows, actions = excluded.actions;
