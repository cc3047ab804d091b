-- Returns whether the time of a run has come. The update that makes it claimable would always fill
-- a temporary table first.
SELECT 1 FROM runs INDEXED BY runs_due WHERE ready = 0 AND available_at <= ?1;
