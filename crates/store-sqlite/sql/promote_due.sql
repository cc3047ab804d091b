-- Runs whose time has come become claimable.
UPDATE runs INDEXED BY runs_due SET ready = 1 WHERE ready = 0 AND available_at <= ?1;
