-- Writes the changes of many runs: their heads, the changed steps, one row of events each, and the
-- counts of those that ended. With a fence ($1), two kinds of runs are left unchanged, with
-- everything that belongs to them, and are not in the result: a run that is not held under the
-- exact lease, and a run whose last commit is not the one that this follows. The latter commit was
-- overtaken, or its answer was lost and it was sent again. A fenced write never takes back a
-- person's request: an end that `yields` leaves the run to the undo requested meanwhile, as
-- `Head::yield_to_undo` says. Without a fence, the caller has locked the rows.
--
-- A single statement: a batch is one round trip and one transaction without BEGIN and COMMIT.
WITH input AS MATERIALIZED (
    SELECT * FROM unnest(
        $4::uuid[], $5::uuid[], $6::bigint[], $7::bigint[], $8::integer[], $9::text[], $10::text[], $11::smallint[],
        $12::text[], $13::bigint[], $14::bigint[], $15::bigint[], $16::uuid[], $17::bigint[], $18::text[], $19::bigint[],
        $20::smallint[], $21::boolean[]
    ) AS i (
        run, lease_worker, lease_epoch, commits, events, body, status, progress,
        error, started_at, completed_at, available_at, worker, epoch, cancel, rate_at,
        slot, yields
    )
),
held AS (
    UPDATE {schema}.runs AS r SET
        status = CASE WHEN i.yields AND r.cancel = 'undo' THEN 'queued' ELSE i.status END,
        progress = CASE WHEN i.yields AND r.cancel = 'undo' THEN least(i.progress, 99) ELSE i.progress END,
        completed_at = CASE WHEN i.yields AND r.cancel = 'undo' THEN NULL ELSE i.completed_at END,
        error = i.error, started_at = i.started_at, worker = i.worker, epoch = i.epoch,
        available_at = CASE
            WHEN $1 AND i.status IN ('queued', 'waiting') AND r.cancel IS NOT NULL THEN $2::bigint
            WHEN i.yields AND r.cancel = 'undo' THEN $2::bigint
            ELSE i.available_at
        END,
        ready = CASE
            WHEN $1 AND i.status IN ('queued', 'waiting') AND r.cancel IS NOT NULL THEN true
            WHEN i.yields AND r.cancel = 'undo' THEN true
            ELSE i.available_at <= $2::bigint
        END,
        cancel = CASE
            WHEN $1 AND i.completed_at IS NULL OR i.yields AND r.cancel = 'undo' THEN r.cancel
            ELSE i.cancel
        END,
        event_seq = r.event_seq + i.events, commits = i.commits,
        rate_at = coalesce(r.rate_at, i.rate_at), details = true
    FROM input AS i
    WHERE r.id = i.run AND (
        NOT $1::boolean
        OR r.status = 'running' AND r.worker = i.lease_worker AND r.epoch = i.lease_epoch
        AND r.commits = i.commits - 1
    )
    RETURNING r.id, r.event_seq, r.cancel, r.queue, i.events, i.body, r.completed_at, r.status, i.slot
),
stepped AS (
    UPDATE {schema}.steps AS s SET
        status = u.status, progress = u.progress, message = u.message, attempt = u.attempt,
        interruptions = u.interruptions, started_at = u.started_at, completed_at = u.completed_at, error = u.error,
        output = u.output, wait = u.wait, checkpoint = u.checkpoint, answer = u.answer, snapshot = u.snapshot,
        undo = u.undo, deferrals = u.deferrals, decision = u.decision, undo_note = u.undo_note, isolation = u.isolation, crashes = u.crashes
    FROM unnest(
        $22::uuid[], $23::smallint[], $24::text[], $25::smallint[], $26::text[], $27::bigint[], $28::bigint[],
        $29::bigint[], $30::bigint[], $31::text[], $32::text[], $33::text[], $34::text[], $35::text[], $36::bytea[],
        $37::text[], $38::bigint[], $39::text[], $40::text[], $41::bigint[], $42::bigint[]
    ) AS u (
        run, position, status, progress, message, attempt, interruptions,
        started_at, completed_at, error, output, wait, checkpoint, answer, snapshot,
        undo, deferrals, decision, undo_note, isolation, crashes
    )
    JOIN held ON held.id = u.run
    WHERE s.run = u.run AND s.position = u.position
    RETURNING s.run
),
told AS (
    INSERT INTO {schema}.events (run, seq, at, body)
    SELECT id, event_seq, $2, body FROM held WHERE events > 0
),
counted AS (
    INSERT INTO {schema}.tallies (span, at, queue, outcome, slot, writer, count)
    SELECT 60, completed_at - completed_at % 60000000, queue, status, slot, $3::integer, count(*)
    FROM held WHERE completed_at IS NOT NULL
    GROUP BY 2, 3, 4, 5
    ON CONFLICT (span, at, queue, outcome, slot, writer) DO UPDATE SET count = tallies.count + excluded.count
)
SELECT id, cancel, queue, (SELECT count(*) FROM stepped) FROM held;
