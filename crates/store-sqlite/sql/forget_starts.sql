-- First starts that have left the window of their queue's rate no longer count.
UPDATE runs SET rate_at = NULL
WHERE id IN (SELECT id FROM runs WHERE rate_at IS NOT NULL AND queue = ?1 AND rate_at <= ?2 ORDER BY rate_at LIMIT ?3);
