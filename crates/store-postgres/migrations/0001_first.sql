-- The first schema. `{schema}` stands for its name.
--
-- Times are microseconds since the epoch. Statuses are the words of the state machine. JSON is text: it is given back as it
-- came, to the last digit, and the database has no reason to look into it. Names and keys compare by their bytes
-- (COLLATE "C"), so that listings do not depend on how the database was made. Foreign keys say what belongs together and
-- are, but for one, not enforced: every row of a run is written under the run's lease, and enforcing them costs a look-up
-- and a lock for each.
--
-- Every index on `runs` but those of keys, listings and `runs_details` holds only runs that are live (or failed), so that what a
-- worker asks costs the same however many runs have ended. None holds a column that changes while a run runs: the most
-- frequent writes are heap-only updates, for which the fillfactors leave room.

-- Workflows as they were submitted, each once.
CREATE TABLE {schema}.plans (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    workflow text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    -- Whether a run of it was ever added: a plan is written before its first run, which may turn out to be there already.
    used boolean NOT NULL DEFAULT false,
    -- The steps' names in order: a submission makes the rows of its steps from these.
    steps text[] NOT NULL,
    json text NOT NULL
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);

CREATE TABLE {schema}.runs (
    id uuid PRIMARY KEY,
    worker uuid,
    -- The number of the last event.
    event_seq bigint NOT NULL CHECK (event_seq >= 0),
    -- Counts the leases; a write under an older one is refused.
    epoch bigint NOT NULL CHECK (epoch >= 0),
    -- Counts the commits of the leases' holders. Each names its own number: one that was long on its way does not follow the
    -- last any more and is refused, and one whose answer got lost is recognised when it is sent again.
    commits bigint NOT NULL DEFAULT 0 CHECK (commits >= 0),
    available_at bigint,
    created_at bigint NOT NULL,
    started_at bigint,
    completed_at bigint,
    -- The first start, when the queue had a rate then: what the rate counts.
    rate_at bigint,
    plan integer NOT NULL,
    priority integer NOT NULL,
    progress smallint NOT NULL CHECK (progress BETWEEN 0 AND 100),
    -- True when a worker may take the run, false when it may from available_at on, null when it waits for none. Asked for with
    -- IS FALSE: of NOT the planner thinks that it is true of every null.
    ready boolean,
    -- True while events and snapshots are kept.
    details boolean NOT NULL DEFAULT true,
    status text COLLATE "C" NOT NULL CHECK (
        status IN ('queued', 'running', 'waiting', 'completed', 'failed', 'cancelled')
    ),
    -- A person's cancel that has not been carried out.
    cancel text COLLATE "C" CHECK (cancel IN ('cancel', 'undo')),
    error text,
    workflow text COLLATE "C" NOT NULL,
    queue text COLLATE "C" NOT NULL,
    key text COLLATE "C",
    -- The value of the workflow's `unique` for this run.
    uniq text COLLATE "C",
    concurrency_key text COLLATE "C",
    parameters text NOT NULL,
    CONSTRAINT running_has_worker CHECK ((status = 'running') = (worker IS NOT NULL)),
    CONSTRAINT running_is_under_a_lease CHECK (status <> 'running' OR (epoch > 0 AND started_at IS NOT NULL)),
    CONSTRAINT ended_has_completed_at CHECK (
        (status IN ('completed', 'failed', 'cancelled')) = (completed_at IS NOT NULL)
    ),
    CONSTRAINT available_when_waiting CHECK (
        CASE status WHEN 'queued' THEN available_at IS NOT NULL WHEN 'waiting' THEN true ELSE available_at IS NULL END
    ),
    CONSTRAINT ready_with_available_at CHECK ((ready IS NULL) = (available_at IS NULL))
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 2000
);

-- What a claim walks, in the order of starting: runs that never ran (which the queue's rate counts) and runs taken up again.
CREATE INDEX runs_fresh ON {schema}.runs (queue, priority DESC, id) WHERE ready AND started_at IS NULL;
CREATE INDEX runs_resumed ON {schema}.runs (queue, priority DESC, id) WHERE ready AND started_at IS NOT NULL;
-- Runs to take although their queue is paused or full: a person waits for their cancel.
CREATE INDEX runs_cancelling ON {schema}.runs (priority DESC, id) WHERE ready AND cancel IS NOT NULL;
CREATE INDEX runs_due ON {schema}.runs (available_at) WHERE ready IS FALSE;
-- Not `ready IS NOT NULL`, which is the same: the planner must not take this for one of those above when a table that has just
-- been filled has no statistics yet.
CREATE INDEX runs_plan ON {schema}.runs (plan) WHERE available_at IS NOT NULL;
CREATE INDEX runs_asking ON {schema}.runs (queue) WHERE status = 'waiting' AND available_at IS NULL;
CREATE INDEX runs_running ON {schema}.runs (queue, concurrency_key, worker) WHERE status = 'running';
CREATE INDEX runs_rate ON {schema}.runs (queue, rate_at) WHERE rate_at IS NOT NULL;
CREATE INDEX runs_unhappy ON {schema}.runs (status, id) WHERE status IN ('failed', 'cancelled');
CREATE INDEX runs_failed ON {schema}.runs (completed_at) WHERE status = 'failed';
CREATE INDEX runs_details ON {schema}.runs (queue, status, completed_at, id) WHERE details AND completed_at IS NOT NULL;
-- For listings.
CREATE INDEX runs_workflow ON {schema}.runs (workflow, id);
CREATE INDEX runs_queue ON {schema}.runs (queue, id);
-- Not unique: a cancelled run may have lost its key to another, and is queued once more when a person asks for its undo.
-- Who submits with a key holds a lock on it until the run is there: see `lock_keys.sql`.
CREATE INDEX runs_key ON {schema}.runs (key, workflow) WHERE key IS NOT NULL;
CREATE INDEX runs_uniq ON {schema}.runs (uniq, workflow) WHERE uniq IS NOT NULL;

CREATE TABLE {schema}.steps (
    run uuid NOT NULL,
    position smallint NOT NULL CHECK (position >= 0),
    progress smallint NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 100),
    attempt bigint NOT NULL DEFAULT 0 CHECK (attempt >= 0),
    interruptions bigint NOT NULL DEFAULT 0 CHECK (interruptions >= 0),
    started_at bigint,
    completed_at bigint,
    -- The step's name in its workflow.
    id text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL CHECK (
        status IN ('pending', 'running', 'completed', 'waiting', 'failed', 'skipped')
    ),
    wait text COLLATE "C" CHECK (wait IN ('retry', 'timer', 'worker', 'interrupted', 'approval')),
    undo text COLLATE "C" CHECK (undo IN ('running', 'done', 'failed')),
    message text,
    error text,
    output text,
    checkpoint text,
    answer text,
    -- The digest of the workspace's manifest as the completed step left it.
    snapshot bytea CHECK (length(snapshot) = 32),
    PRIMARY KEY (run, position),
    CONSTRAINT waiting_has_wait CHECK ((status = 'waiting') = (wait IS NOT NULL)),
    CONSTRAINT running_has_begun CHECK (status <> 'running' OR (attempt > 0 AND started_at IS NOT NULL)),
    CONSTRAINT ended_has_completed_at CHECK (
        (status IN ('completed', 'failed', 'skipped')) = (completed_at IS NOT NULL)
    )
) WITH (
    fillfactor = 60,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.1,
    autovacuum_analyze_scale_factor = 0.02, autovacuum_analyze_threshold = 5000
);

-- The history: one row for each commit, with all events of it as a JSON array of [kind, step, data]; `seq` is the number of
-- the last of them. Rows are added and removed, never changed.
CREATE TABLE {schema}.events (
    run uuid NOT NULL,
    seq bigint NOT NULL CHECK (seq > 0),
    at bigint NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (run, seq)
) WITH (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_insert_scale_factor = 0.1
);

CREATE TABLE {schema}.records (
    kind text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    run uuid NOT NULL,
    data text NOT NULL,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    PRIMARY KEY (kind, name)
) WITH (autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX records_run ON {schema}.records (run);

-- Contents of workspaces, each once.
CREATE TABLE {schema}.blobs (
    digest bytea PRIMARY KEY CHECK (length(digest) = 32),
    content bytea NOT NULL
) WITH (
    autovacuum_vacuum_threshold = 500, autovacuum_vacuum_scale_factor = 0.05,
    -- The contents themselves, in many rows each.
    toast.autovacuum_vacuum_threshold = 5000, toast.autovacuum_vacuum_scale_factor = 0.05
);

-- Which run needs which content. This reference is enforced: a prune on one worker must not remove a content that a commit
-- on another has just come to need.
CREATE TABLE {schema}.snapshot_blobs (
    run uuid NOT NULL,
    digest bytea NOT NULL REFERENCES {schema}.blobs (digest),
    PRIMARY KEY (run, digest)
) WITH (autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX snapshot_blobs_digest ON {schema}.snapshot_blobs (digest);

-- Queues that a person gave limits to, or paused.
CREATE TABLE {schema}.queues (
    name text COLLATE "C" PRIMARY KEY,
    paused boolean NOT NULL DEFAULT false,
    concurrency bigint,
    concurrency_per_key bigint,
    rate_max bigint,
    rate_per bigint,
    completed_age bigint,
    completed_count bigint,
    failed_age bigint,
    failed_count bigint,
    cancelled_age bigint,
    cancelled_count bigint,
    -- Starts in it have to be counted, one process after the other.
    limited boolean GENERATED ALWAYS AS (
        paused OR concurrency IS NOT NULL OR concurrency_per_key IS NOT NULL OR rate_max IS NOT NULL
    ) STORED,
    CONSTRAINT rate_is_whole CHECK ((rate_max IS NULL) = (rate_per IS NULL))
) WITH (autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);

CREATE TABLE {schema}.workers (
    id uuid PRIMARY KEY,
    name text NOT NULL,
    lease bigint NOT NULL,
    started_at bigint NOT NULL,
    heartbeat_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    version text NOT NULL,
    -- The actions that it knows, as a JSON array.
    actions text NOT NULL
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 100, autovacuum_vacuum_scale_factor = 0);

-- How runs ended, counted by the minute (span 60) by whoever writes the end; a prune moves what is older than a day into
-- the hours (3600) and into what is kept for ever (0). `slot` is that of the duration. Each writer of each process counts
-- in rows of its own (`writer`): otherwise their transactions would wait for one another.
CREATE TABLE {schema}.tallies (
    at bigint NOT NULL,
    count bigint NOT NULL CHECK (count > 0),
    writer integer NOT NULL,
    span smallint NOT NULL CHECK (span IN (0, 60, 3600)),
    slot smallint NOT NULL CHECK (slot >= 0),
    queue text COLLATE "C" NOT NULL,
    outcome text COLLATE "C" NOT NULL CHECK (outcome IN ('completed', 'failed', 'cancelled', 'recovered')),
    PRIMARY KEY (span, at, queue, outcome, slot, writer)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.05);

-- Small facts that are no part of a run: tokens, sessions, alerts, the audit log.
CREATE TABLE {schema}.documents (
    kind text COLLATE "C" NOT NULL,
    id text COLLATE "C" NOT NULL,
    version bigint NOT NULL CHECK (version > 0),
    updated_at bigint NOT NULL,
    expires_at bigint,
    data text NOT NULL,
    PRIMARY KEY (kind, id)
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0.05);
CREATE INDEX documents_expiring ON {schema}.documents (expires_at) WHERE expires_at IS NOT NULL;
