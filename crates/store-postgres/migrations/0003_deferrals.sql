-- How often the present attempt of a step was deferred because something that it needs was unavailable.
ALTER TABLE {schema}.steps ADD COLUMN deferrals bigint NOT NULL DEFAULT 0 CHECK (deferrals >= 0);
