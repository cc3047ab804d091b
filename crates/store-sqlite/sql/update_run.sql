-- The whole head of a run. `details` is set again because a retried run whose details were pruned
-- has new ones.
UPDATE runs SET status = ?2, progress = ?3, error = ?4, started_at = ?5, completed_at = ?6, available_at = ?7, ready = ?8,
                worker = ?9, epoch = ?10, cancel = ?11, event_seq = ?12, rate_at = coalesce(rate_at, ?13), commits = ?14, details = 1
WHERE id = ?1;
