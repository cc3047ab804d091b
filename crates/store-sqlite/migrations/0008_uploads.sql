-- Contents are uploaded ahead of the commit that completes a step, when a workspace is too large
-- for one commit.

-- True while the content is uploaded for the run and no snapshot of the run needs it yet.
ALTER TABLE snapshot_blobs ADD COLUMN pending INTEGER NOT NULL DEFAULT 0 CHECK (pending IN (0, 1));
CREATE INDEX snapshot_blobs_pending ON snapshot_blobs (run) WHERE pending = 1;
