-- An undo may keep what a step made, and says why; the answer to an interruption is kept apart from an approval.
--
-- SQLite changes no CHECK of a table in place, so the steps are copied.
CREATE TABLE steps_new (
    run BLOB NOT NULL REFERENCES runs (id),
    position INTEGER NOT NULL CHECK (position >= 0),
    -- The step's name in its workflow.
    id TEXT NOT NULL,
    status TEXT NOT NULL CHECK (
        status = 'pending' OR status = 'running' OR status = 'completed' OR status = 'waiting' OR status = 'failed'
        OR status = 'skipped'
    ),
    progress INTEGER NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    interruptions INTEGER NOT NULL DEFAULT 0 CHECK (interruptions >= 0),
    started_at INTEGER,
    completed_at INTEGER,
    wait TEXT CHECK (
        wait = 'retry' OR wait = 'timer' OR wait = 'worker' OR wait = 'interrupted' OR wait = 'approval'
    ),
    undo TEXT CHECK (undo = 'running' OR undo = 'interrupted' OR undo = 'done' OR undo = 'kept' OR undo = 'failed'),
    message TEXT,
    error TEXT,
    output TEXT,
    checkpoint TEXT,
    -- A person's answer to the handler's question.
    answer TEXT,
    -- The digest of the workspace's manifest as the completed step left it.
    snapshot BLOB CHECK (length(snapshot) = 32),
    -- How often the present attempt of a step was deferred because something that it needs was unavailable.
    deferrals INTEGER NOT NULL DEFAULT 0 CHECK (deferrals >= 0),
    -- A person's answer to the last interruption.
    decision TEXT,
    -- What the undo removed, or what it kept and why.
    undo_note TEXT,
    PRIMARY KEY (run, position),
    CONSTRAINT waiting_has_wait CHECK ((status = 'waiting') = (wait IS NOT NULL)),
    CONSTRAINT running_has_begun CHECK (status <> 'running' OR (attempt > 0 AND started_at IS NOT NULL)),
    CONSTRAINT ended_has_completed_at CHECK (
        (status = 'completed' OR status = 'failed' OR status = 'skipped') = (completed_at IS NOT NULL)
    ),
    CONSTRAINT note_of_an_ended_undo CHECK (undo_note IS NULL OR coalesce(undo = 'done' OR undo = 'kept', 0))
) STRICT, WITHOUT ROWID;
INSERT INTO steps_new (
    run, position, id, status, progress, attempt, interruptions, started_at, completed_at, wait, undo, message, error,
    output, checkpoint, answer, snapshot, deferrals
)
SELECT run, position, id, status, progress, attempt, interruptions, started_at, completed_at, wait, undo, message, error,
       output, checkpoint, answer, snapshot, deferrals
FROM steps;
DROP TABLE steps;
ALTER TABLE steps_new RENAME TO steps;
