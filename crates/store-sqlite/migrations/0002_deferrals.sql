-- How often the present attempt of a step was deferred because something that it needs was unavailable.
ALTER TABLE steps ADD COLUMN deferrals INTEGER NOT NULL DEFAULT 0 CHECK (deferrals >= 0);
