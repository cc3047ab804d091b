-- Contents are uploaded ahead of the commit that completes a step, when a workspace is too large
-- for one commit.
ALTER TABLE {schema}.snapshot_blobs
    -- True while the content is uploaded for the run and no snapshot of the run needs it yet.
    ADD COLUMN pending boolean NOT NULL DEFAULT false;
CREATE INDEX snapshot_blobs_pending ON {schema}.snapshot_blobs (run) WHERE pending;
