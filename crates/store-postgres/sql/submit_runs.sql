-- Adds many runs with their steps and first events: started, if they bring a worker and nothing
-- holds them back; otherwise queued. A run whose key or unique value is taken is not added, nor is
-- one that its queue's allow-lists refuse, nor one that would start in a queue with limits; the
-- result says so. Those limits must be checked under a lock first ($1 says that they were).
WITH input AS MATERIALIZED (
    SELECT i.*, p.workflow, p.queue, p.steps, p.used,
        EXISTS (
            SELECT FROM {schema}.queues AS q
            WHERE q.name = p.queue AND (q.workflows IS NOT NULL OR q.actions IS NOT NULL)
        ) AS restricted
    FROM unnest(
        $3::uuid[], $4::integer[], $5::text[], $6::text[], $7::integer[], $8::text[], $9::bigint[], $10::text[],
        $11::bigint[], $12::integer[], $13::text[],
        $14::uuid[], $15::bigint[], $16::smallint[], $17::bigint[], $18::bigint[], $19::integer[], $20::text[], $42::text[],
        $43::text[]
    ) AS i (
        run, plan, key, uniq, priority, concurrency_key, created_at, parameters,
        available_at, events, body,
        worker, epoch, progress, started_at, rate_at, started_events, started_body, requires, sealed
    )
    JOIN {schema}.plans AS p ON p.id = i.plan
),
-- Decides whether a new run of a queue and priority may start before all that wait there.
gates AS MATERIALIZED (
    SELECT g.queue, g.priority, coalesce(q.limited, false) AND NOT $1::boolean AS limited,
        NOT EXISTS (
            SELECT 1 FROM {schema}.runs AS r
            WHERE r.ready AND r.started_at IS NULL AND r.queue = g.queue AND r.priority >= g.priority
        ) AND NOT EXISTS (
            SELECT 1 FROM {schema}.runs AS r
            WHERE r.ready AND r.started_at IS NOT NULL AND r.queue = g.queue AND r.priority >= g.priority
        ) AND NOT EXISTS (
            SELECT 1 FROM {schema}.runs AS r
            WHERE r.ready IS FALSE AND r.available_at <= $2::bigint AND r.queue = g.queue AND r.priority >= g.priority
        ) AS is_open
    FROM (SELECT DISTINCT queue, priority FROM input WHERE worker IS NOT NULL) AS g
    LEFT JOIN {schema}.queues AS q ON q.name = g.queue
),
alive AS MATERIALIZED (
    SELECT id FROM {schema}.workers WHERE id = ANY ($14::uuid[])
),
twins AS MATERIALIZED (
    SELECT i.*,
        (
            SELECT t.id FROM {schema}.runs AS t
            WHERE t.key = i.key AND t.workflow = i.workflow AND t.status <> 'cancelled'
            ORDER BY t.id DESC LIMIT 1
        ) AS same_key,
        (
            SELECT t.id FROM {schema}.runs AS t
            WHERE t.uniq = i.uniq AND t.workflow = i.workflow AND t.status <> 'cancelled'
            ORDER BY t.id DESC LIMIT 1
        ) AS same_unique,
        g.limited,
        i.restricted AND {schema}.not_permitted(i.plan) IS NOT NULL AS refused,
        coalesce(g.is_open, false) AND i.available_at <= $2 AND EXISTS (SELECT 1 FROM alive WHERE alive.id = i.worker)
            AS starts
    FROM input AS i LEFT JOIN gates AS g ON g.queue = i.queue AND g.priority = i.priority AND i.worker IS NOT NULL
),
judged AS MATERIALIZED (
    SELECT *, CASE
        WHEN same_key IS NOT NULL THEN 'same_key'
        WHEN same_unique IS NOT NULL THEN 'same_unique'
        WHEN refused THEN 'refused'
        WHEN NOT starts THEN 'queued'
        WHEN limited THEN 'limited'
        ELSE 'started'
    END AS outcome
    FROM twins
),
added AS (
    INSERT INTO {schema}.runs (
        id, plan, workflow, queue, key, uniq, priority, concurrency_key, created_at, parameters,
        status, progress, available_at, ready, worker, epoch, started_at, rate_at, event_seq, requires, sealed
    )
    SELECT run, plan, workflow, queue, key, uniq, priority, concurrency_key, created_at, parameters,
        'queued', 0, available_at, available_at <= $2, NULL, 0, NULL, NULL, events, string_to_array(requires, ' '),
        sealed
    FROM judged WHERE outcome = 'queued'
    UNION ALL
    SELECT run, plan, workflow, queue, key, uniq, priority, concurrency_key, created_at, parameters,
        'running', progress, NULL, NULL, worker, epoch, started_at, rate_at, started_events,
        string_to_array(requires, ' '), sealed
    FROM judged WHERE outcome = 'started'
),
stepped AS (
    INSERT INTO {schema}.steps (
        run, position, id, status, progress, message, attempt, interruptions, started_at, completed_at, error, output,
        wait, checkpoint, answer, snapshot, undo, deferrals, decision, undo_note, isolation, crashes
    )
    SELECT j.run, s.position - 1, s.id, coalesce(u.status, 'pending'), coalesce(u.progress, 0), u.message,
        coalesce(u.attempt, 0), coalesce(u.interruptions, 0), u.started_at, u.completed_at, u.error, u.output,
        u.wait, u.checkpoint, u.answer, u.snapshot, u.undo, coalesce(u.deferrals, 0), u.decision, u.undo_note,
        u.isolation, coalesce(u.crashes, 0)
    FROM judged AS j
    CROSS JOIN LATERAL unnest(j.steps) WITH ORDINALITY AS s (id, position)
    LEFT JOIN unnest(
        $21::uuid[], $22::smallint[], $23::text[], $24::smallint[], $25::text[], $26::bigint[], $27::bigint[],
        $28::bigint[], $29::bigint[], $30::text[], $31::text[], $32::text[], $33::text[], $34::text[], $35::bytea[],
        $36::text[], $37::bigint[], $38::text[], $39::text[], $40::bigint[], $41::bigint[]
    ) AS u (
        run, position, status, progress, message, attempt, interruptions,
        started_at, completed_at, error, output, wait, checkpoint, answer, snapshot,
        undo, deferrals, decision, undo_note, isolation, crashes
    ) ON j.outcome = 'started' AND u.run = j.run AND u.position = s.position - 1
    WHERE j.outcome IN ('queued', 'started')
),
used AS (
    UPDATE {schema}.plans SET used = true
    WHERE id IN (SELECT plan FROM judged WHERE NOT used AND outcome IN ('queued', 'started'))
),
told AS (
    INSERT INTO {schema}.events (run, seq, at, body)
    SELECT run, events, $2, body FROM judged WHERE outcome = 'queued' AND events > 0
    UNION ALL
    SELECT run, started_events, $2, started_body FROM judged WHERE outcome = 'started' AND started_events > 0
)
SELECT run, outcome, coalesce(same_key, same_unique) FROM judged;
