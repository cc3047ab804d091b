-- Renews a worker's lease, by the database's clock, and returns its runs with their requested
-- cancels. No row if the worker has lost its lease.
WITH clock AS (
    SELECT coalesce($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
),
renewed AS (
    -- Two successive heartbeats of a worker never have the same time, whatever the clock does.
    UPDATE {schema}.workers SET
        heartbeat_at = CASE
            WHEN clock.now > heartbeat_at - 1000000 AND clock.now <= heartbeat_at THEN heartbeat_at + 1 ELSE clock.now
        END,
        expires_at = clock.now + lease
    FROM clock WHERE id = $1::uuid
    RETURNING clock.now
)
SELECT renewed.now, r.id, r.cancel
FROM renewed LEFT JOIN {schema}.runs AS r ON r.status = 'running' AND r.worker = $1
ORDER BY r.id;
