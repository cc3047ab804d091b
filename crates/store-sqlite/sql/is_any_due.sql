-- Whether the time of a run has come. The update that makes it claimable would fill a table in memory first, come or not.
SELECT 1 FROM runs INDEXED BY runs_due WHERE ready = 0 AND available_at <= ?1;
