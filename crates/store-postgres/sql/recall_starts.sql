-- Counts recent first starts of a queue for the rate that it was just given: the newest $3, since
-- more than the rate allows make no difference. A run that started after $2 is live, or ended after
-- $2. Each call handles $4 of them and skips rows that are being written; it is called again for
-- those.
UPDATE {schema}.runs SET rate_at = started_at
WHERE id IN (
    SELECT id FROM {schema}.runs WHERE rate_at IS NULL AND id IN (
        SELECT id FROM (
            SELECT id, started_at FROM {schema}.runs WHERE status = 'running' AND queue = $1::text
            UNION ALL SELECT id, started_at FROM {schema}.runs WHERE ready AND started_at IS NOT NULL AND queue = $1
            UNION ALL SELECT id, started_at FROM {schema}.runs WHERE ready IS FALSE AND queue = $1
            UNION ALL SELECT id, started_at FROM {schema}.runs
            WHERE status = 'waiting' AND available_at IS NULL AND queue = $1
            UNION ALL SELECT id, started_at FROM {schema}.runs WHERE details AND completed_at IS NOT NULL AND queue = $1
                AND status IN ('completed', 'failed', 'cancelled') AND completed_at > $2::bigint
        ) AS recent
        WHERE started_at > $2 ORDER BY started_at DESC LIMIT $3::bigint
    )
    LIMIT $4::bigint FOR UPDATE SKIP LOCKED
);
