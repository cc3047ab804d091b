-- What a run requires of the worker that takes it beside the actions of its steps, and what a worker offers.
--
-- The indexes that a claim walks hold the column, so that runs which a worker cannot take cost a walk along the index and
-- nothing more.

-- A sorted JSON array of names; null when the run requires nothing. Equal sets are equal texts.
ALTER TABLE runs ADD COLUMN requires TEXT;
-- A JSON array of names.
ALTER TABLE workers ADD COLUMN resources TEXT NOT NULL DEFAULT '[]';

DROP INDEX runs_fresh;
CREATE INDEX runs_fresh ON runs (queue, priority DESC, id, plan, concurrency_key, cancel, status, started_at, requires)
    WHERE ready = 1 AND started_at IS NULL;
DROP INDEX runs_resumed;
CREATE INDEX runs_resumed ON runs (queue, priority DESC, id, plan, concurrency_key, cancel, status, started_at, requires)
    WHERE ready = 1 AND started_at IS NOT NULL;
DROP INDEX runs_cancelling;
CREATE INDEX runs_cancelling ON runs (priority DESC, id, plan, cancel, requires) WHERE ready = 1 AND cancel IS NOT NULL;

-- The sets that runs which wait for a worker require: a few, however many runs wait.
CREATE INDEX runs_requires ON runs (requires) WHERE requires IS NOT NULL AND ready IS NOT NULL;
