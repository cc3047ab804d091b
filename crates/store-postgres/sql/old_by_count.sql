-- Ended runs of a queue and outcome that still have details, except the $3 newest.
SELECT id FROM {schema}.runs WHERE id IN (
    SELECT id FROM {schema}.runs
    WHERE details AND completed_at IS NOT NULL AND queue = $1::text AND status = $2::text
    ORDER BY completed_at DESC, id DESC LIMIT $4::bigint OFFSET $3::bigint
) AND details AND completed_at IS NOT NULL FOR UPDATE SKIP LOCKED;
