-- Queued or waiting runs, from their partial indexes.
SELECT count(*) FROM (
    SELECT 1 FROM (
        SELECT status FROM {schema}.runs WHERE ready AND started_at IS NULL
        UNION ALL SELECT status FROM {schema}.runs WHERE ready AND started_at IS NOT NULL
        UNION ALL SELECT status FROM {schema}.runs WHERE ready IS FALSE
        UNION ALL SELECT status FROM {schema}.runs WHERE status = 'waiting' AND available_at IS NULL
    ) AS held_back
    WHERE status = $1::text LIMIT $2::bigint
) AS r;
