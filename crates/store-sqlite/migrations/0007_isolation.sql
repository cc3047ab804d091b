-- Crashes are told apart: what a step did alone counts against its cap; after a crash with several in flight, each runs beside
-- fewer others.

-- How often the step's worker crashed while the step, or its undo, was the only one in flight there.
ALTER TABLE steps ADD COLUMN crashes INTEGER NOT NULL DEFAULT 0 CHECK (crashes >= 0);
-- How many steps may be in flight in the step's worker while it runs, itself included.
ALTER TABLE steps ADD COLUMN isolation INTEGER CHECK (isolation > 0);
