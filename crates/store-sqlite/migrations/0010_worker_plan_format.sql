-- The newest format of plans that a worker's build reads: what a run of a newer one waits for is shown.
ALTER TABLE workers ADD COLUMN plan_format INTEGER NOT NULL DEFAULT 1 CHECK (plan_format > 0);
