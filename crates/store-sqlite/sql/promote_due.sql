-- Runs whose time has come may be taken.
UPDATE runs SET ready = 1 WHERE ready = 0 AND available_at <= ?1;
