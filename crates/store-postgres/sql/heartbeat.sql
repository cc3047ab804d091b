-- Renews a worker's lease, by the database's clock, and brings back its runs and what people asked of them. No row when the
-- worker was taken for dead.
WITH clock AS (
    SELECT coalesce($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
),
renewed AS (
    UPDATE {schema}.workers SET heartbeat_at = clock.now, expires_at = clock.now + lease
    FROM clock WHERE id = $1::uuid
    RETURNING clock.now
)
SELECT renewed.now, r.id, r.cancel
FROM renewed LEFT JOIN {schema}.runs AS r ON r.status = 'running' AND r.worker = $1
ORDER BY r.id;
