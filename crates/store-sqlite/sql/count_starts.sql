-- First starts in a queue after a time. Those after ?3 were written before the clock was set back
-- and no longer count.
SELECT count(*) FROM runs WHERE rate_at IS NOT NULL AND queue = ?1 AND rate_at > ?2 AND rate_at <= ?3;
