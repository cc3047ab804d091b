-- The first schema.
--
-- Times are microseconds since the epoch. Statuses are the words of the state machine. JSON is text. Foreign keys say what
-- belongs together and are not enforced: every row of a run is written by one statement path in one transaction, and
-- enforcing them costs a look-up for each of the eight rows of a submit.
--
-- The checks say `a = 'x' OR a = 'y'` and not `a IN ('x', 'y')`: for IN, SQLite fills a table in memory at each write, which
-- took a third of the writer's time.
--
-- Every index on `runs` but those of keys, listings and `runs_details` holds only runs that are live (or failed), so that what a
-- worker asks costs the same however many runs have ended.

CREATE TABLE migrations (
    version INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    sha256 BLOB NOT NULL,
    applied_at INTEGER NOT NULL
) STRICT;

-- Workflows as they were submitted, each once.
CREATE TABLE plans (
    id INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    workflow TEXT NOT NULL,
    queue TEXT NOT NULL,
    json TEXT NOT NULL
) STRICT;

CREATE TABLE runs (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    status TEXT NOT NULL CHECK (
        status = 'queued' OR status = 'running' OR status = 'waiting' OR status = 'completed' OR status = 'failed'
        OR status = 'cancelled'
    ),
    progress INTEGER NOT NULL CHECK (progress BETWEEN 0 AND 100),
    -- The number of the last event.
    event_seq INTEGER NOT NULL CHECK (event_seq >= 0),
    error TEXT,
    worker BLOB,
    -- Counts the leases; a write under an older one is refused.
    epoch INTEGER NOT NULL CHECK (epoch >= 0),
    -- Counts the commits of the leases' holders; one that does not follow the last is refused.
    commits INTEGER NOT NULL DEFAULT 0 CHECK (commits >= 0),
    -- A person's cancel that has not been carried out.
    cancel TEXT CHECK (cancel = 'cancel' OR cancel = 'undo'),
    available_at INTEGER,
    -- 1 when a worker may take the run, 0 when it may from available_at on, null when it waits for none.
    ready INTEGER CHECK (ready = 0 OR ready = 1),
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    completed_at INTEGER,
    -- The first start, when the queue had a rate then: what the rate counts.
    rate_at INTEGER,
    -- 1 while events and snapshots are kept.
    details INTEGER NOT NULL DEFAULT 1 CHECK (details = 0 OR details = 1),
    plan INTEGER NOT NULL REFERENCES plans (id),
    workflow TEXT NOT NULL,
    queue TEXT NOT NULL,
    key TEXT,
    -- The value of the workflow's `unique` for this run.
    uniq TEXT,
    priority INTEGER NOT NULL,
    concurrency_key TEXT,
    parameters TEXT NOT NULL,
    CONSTRAINT running_has_worker CHECK ((status = 'running') = (worker IS NOT NULL)),
    CONSTRAINT running_is_under_a_lease CHECK (status <> 'running' OR (epoch > 0 AND started_at IS NOT NULL)),
    CONSTRAINT ended_has_completed_at CHECK (
        (status = 'completed' OR status = 'failed' OR status = 'cancelled') = (completed_at IS NOT NULL)
    ),
    CONSTRAINT available_when_waiting CHECK (
        CASE status WHEN 'queued' THEN available_at IS NOT NULL WHEN 'waiting' THEN 1 ELSE available_at IS NULL END
    ),
    CONSTRAINT ready_with_available_at CHECK ((ready IS NULL) = (available_at IS NULL))
) STRICT, WITHOUT ROWID;

-- What a claim walks, in the order of starting: runs that never ran (which the queue's rate counts) and runs taken up again.
CREATE INDEX runs_fresh ON runs (queue, priority DESC, id, plan, concurrency_key, cancel, status, started_at)
    WHERE ready = 1 AND started_at IS NULL;
CREATE INDEX runs_resumed ON runs (queue, priority DESC, id, plan, concurrency_key, cancel, status, started_at)
    WHERE ready = 1 AND started_at IS NOT NULL;
-- Runs to take although their queue is paused or full: a person waits for their cancel.
CREATE INDEX runs_cancelling ON runs (priority DESC, id, plan, cancel) WHERE ready = 1 AND cancel IS NOT NULL;
CREATE INDEX runs_due ON runs (available_at, queue, status) WHERE ready = 0;
CREATE INDEX runs_plan ON runs (plan) WHERE ready IS NOT NULL;
CREATE INDEX runs_asking ON runs (queue, status, available_at) WHERE status = 'waiting' AND available_at IS NULL;
CREATE INDEX runs_running ON runs (queue, concurrency_key, worker) WHERE status = 'running';
CREATE INDEX runs_told ON runs (worker, cancel) WHERE status = 'running' AND cancel IS NOT NULL;
CREATE INDEX runs_rate ON runs (queue, rate_at) WHERE rate_at IS NOT NULL;
CREATE INDEX runs_unhappy ON runs (status, id) WHERE (status = 'failed' OR status = 'cancelled');
CREATE INDEX runs_failed ON runs (completed_at) WHERE status = 'failed';
CREATE INDEX runs_details ON runs (queue, status, completed_at) WHERE details = 1 AND completed_at IS NOT NULL;
-- For listings: written once with the run, and never changed.
CREATE INDEX runs_workflow ON runs (workflow, id);
CREATE INDEX runs_queue ON runs (queue, id);
-- Not unique: a cancelled run may have lost its key to another, and is queued once more when a person asks for its undo.
-- Submit looks for the key in the transaction that adds the run, and only one transaction at a time writes.
CREATE INDEX runs_key ON runs (key, workflow) WHERE key IS NOT NULL AND status <> 'cancelled';
CREATE INDEX runs_uniq ON runs (uniq, workflow) WHERE uniq IS NOT NULL AND status <> 'cancelled';

CREATE TABLE steps (
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
    undo TEXT CHECK (undo = 'running' OR undo = 'done' OR undo = 'failed'),
    message TEXT,
    error TEXT,
    output TEXT,
    checkpoint TEXT,
    answer TEXT,
    -- The digest of the workspace's manifest as the completed step left it.
    snapshot BLOB CHECK (length(snapshot) = 32),
    PRIMARY KEY (run, position),
    CONSTRAINT waiting_has_wait CHECK ((status = 'waiting') = (wait IS NOT NULL)),
    CONSTRAINT running_has_begun CHECK (status <> 'running' OR (attempt > 0 AND started_at IS NOT NULL)),
    CONSTRAINT ended_has_completed_at CHECK (
        (status = 'completed' OR status = 'failed' OR status = 'skipped') = (completed_at IS NOT NULL)
    )
) STRICT, WITHOUT ROWID;

-- The history: one row for each commit, with all events of it as a JSON array of [kind, step, data]; `seq` is the number of
-- the last of them.
CREATE TABLE events (
    run BLOB NOT NULL REFERENCES runs (id),
    seq INTEGER NOT NULL CHECK (seq > 0),
    at INTEGER NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE records (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    run BLOB NOT NULL REFERENCES runs (id),
    data TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_run ON records (run);

-- Contents of workspaces, each once. A table with rowids: large contents have no place in a clustered tree.
CREATE TABLE blobs (
    digest BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    content BLOB NOT NULL
) STRICT;

-- Which run needs which content.
CREATE TABLE snapshot_blobs (
    run BLOB NOT NULL REFERENCES runs (id),
    digest BLOB NOT NULL REFERENCES blobs (digest),
    PRIMARY KEY (run, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX snapshot_blobs_digest ON snapshot_blobs (digest);

-- Queues that a person gave limits to, or paused.
CREATE TABLE queues (
    name TEXT PRIMARY KEY,
    paused INTEGER NOT NULL DEFAULT 0 CHECK (paused = 0 OR paused = 1),
    concurrency INTEGER,
    concurrency_per_key INTEGER,
    rate_max INTEGER,
    rate_per INTEGER,
    completed_age INTEGER,
    completed_count INTEGER,
    failed_age INTEGER,
    failed_count INTEGER,
    cancelled_age INTEGER,
    cancelled_count INTEGER,
    CONSTRAINT rate_is_whole CHECK ((rate_max IS NULL) = (rate_per IS NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE workers (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    name TEXT NOT NULL,
    lease INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    version TEXT NOT NULL,
    -- The actions that it knows, as a JSON array.
    actions TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- How runs ended, counted by the minute (span 60), by the hour (3600) and for ever (0); `slot` is that of the duration.
CREATE TABLE tallies (
    span INTEGER NOT NULL,
    at INTEGER NOT NULL,
    queue TEXT NOT NULL,
    outcome TEXT NOT NULL CHECK (
        outcome = 'completed' OR outcome = 'failed' OR outcome = 'cancelled' OR outcome = 'recovered'
    ),
    slot INTEGER NOT NULL CHECK (slot >= 0),
    count INTEGER NOT NULL CHECK (count > 0),
    PRIMARY KEY (span, at, queue, outcome, slot)
) STRICT, WITHOUT ROWID;

-- Small facts that are no part of a run: tokens, sessions, alerts, the audit log.
CREATE TABLE documents (
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version > 0),
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    data TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX documents_expiring ON documents (expires_at) WHERE expires_at IS NOT NULL;
