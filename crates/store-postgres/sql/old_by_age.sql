-- Ended runs of a queue and outcome that ended before a time and still have details.
SELECT id FROM {schema}.runs
WHERE details AND completed_at IS NOT NULL AND queue = $1::text AND status = $2::text AND completed_at < $3::bigint
ORDER BY completed_at LIMIT $4::bigint FOR UPDATE SKIP LOCKED;
