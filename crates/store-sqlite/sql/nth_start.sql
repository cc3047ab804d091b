-- The first start in a queue that ?2 others followed, among those that count (see
-- count_starts.sql).
SELECT rate_at FROM runs WHERE rate_at IS NOT NULL AND queue = ?1 AND rate_at <= ?3 ORDER BY rate_at DESC LIMIT 1 OFFSET ?2;
