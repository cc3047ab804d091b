-- First starts that have left the window of their queue's rate no longer count.
UPDATE {schema}.runs SET rate_at = NULL WHERE id IN (
    SELECT id FROM {schema}.runs WHERE rate_at IS NOT NULL AND queue = $1::text AND rate_at <= $2::bigint
    ORDER BY rate_at LIMIT $3::bigint FOR UPDATE SKIP LOCKED
);
