-- Admission of queues: their limits, the number of running runs, the number of first starts that
-- their rate counts, and the start that must leave the window before the next. $3 is the time of a
-- requested start, if it is not now. A start further in the future than the window is long was
-- written before the clock was set back, and would block the queue until then.
SELECT name, paused, concurrency, concurrency_per_key, rate_max, rate_per, completed_age, completed_count, failed_age,
       failed_count, cancelled_age, cancelled_count, workflows, actions,
       clock.now,
       (SELECT count(*) FROM {schema}.runs WHERE status = 'running' AND queue = q.name),
       (
           SELECT count(*) FROM {schema}.runs
           WHERE rate_at IS NOT NULL AND queue = q.name AND rate_at > least($3::bigint, clock.now) - q.rate_per
             AND rate_at - q.rate_per <= clock.now
       ),
       (
           SELECT rate_at FROM {schema}.runs
           WHERE rate_at IS NOT NULL AND queue = q.name AND q.rate_max > 0 AND rate_at - q.rate_per <= clock.now
           ORDER BY rate_at DESC LIMIT 1 OFFSET greatest(q.rate_max - 1, 0)
       )
FROM {schema}.queues AS q,
     (SELECT coalesce($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS clock
WHERE q.name = ANY ($1::text[]) ORDER BY name;
