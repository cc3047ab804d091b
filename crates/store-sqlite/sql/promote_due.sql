-- Runs whose time has come may be taken.
UPDATE runs INDEXED BY runs_due SET ready = 1 WHERE ready = 0 AND available_at <= ?1;
