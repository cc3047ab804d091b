-- Recent first starts of a queue that has just been given a rate count for it. A run that started after $2 is live, or ended
-- after $2.
UPDATE {schema}.runs SET rate_at = started_at
WHERE rate_at IS NULL AND started_at > $2::bigint AND id IN (
    SELECT id FROM {schema}.runs WHERE status = 'running' AND queue = $1::text
    UNION ALL SELECT id FROM {schema}.runs WHERE ready AND started_at IS NOT NULL AND queue = $1
    UNION ALL SELECT id FROM {schema}.runs WHERE ready IS FALSE AND queue = $1
    UNION ALL SELECT id FROM {schema}.runs WHERE status = 'waiting' AND available_at IS NULL AND queue = $1
    UNION ALL SELECT id FROM {schema}.runs WHERE details AND completed_at IS NOT NULL AND queue = $1
        AND status IN ('completed', 'failed', 'cancelled') AND completed_at > $2
);
