-- First starts in a queue after a time.
SELECT count(*) FROM runs WHERE rate_at IS NOT NULL AND queue = ?1 AND rate_at > ?2;
