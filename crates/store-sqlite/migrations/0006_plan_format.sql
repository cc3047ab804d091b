-- The format of a plan's JSON: a build reads no newer one than its own, and leaves runs of it to those that do.
ALTER TABLE plans ADD COLUMN format INTEGER NOT NULL DEFAULT 1 CHECK (format > 0);
