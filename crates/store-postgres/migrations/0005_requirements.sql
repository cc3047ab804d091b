-- What a run requires of the worker that takes it beside the actions of its steps, and what a worker offers.
--
-- Older workers would take runs that require what they do not offer: none may live when this runs.

-- Names, each once, in order.
ALTER TABLE {schema}.runs ADD COLUMN requires text[] COLLATE "C" NOT NULL DEFAULT '{}';
-- A JSON array of names.
ALTER TABLE {schema}.workers ADD COLUMN resources text NOT NULL DEFAULT '[]';
-- Templates, as `uniq` is one.
ALTER TABLE {schema}.workflows ADD COLUMN requires text[] NOT NULL DEFAULT '{}';

-- The resources that a workflow requires with these parameters: its templates, each of which gives a name or nothing.
CREATE FUNCTION {schema}.required_resources(workflow text, templates text[], parameters jsonb) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT ARRAY (
        SELECT DISTINCT {schema}.unique_value(workflow, template, parameters) COLLATE "C" AS name
        FROM unnest(templates) AS given (template)
        WHERE {schema}.unique_value(workflow, template, parameters) <> ''
        ORDER BY name
    )
$function$;

-- Submits a run and gives its id. The same key again, with the same parameters, gives the same run.
--
-- It runs with the rights of the schema's owner: whoever may call it need not see the tables. Nobody may until it is granted.
CREATE OR REPLACE FUNCTION {schema}.submit(
    workflow text,
    parameters jsonb DEFAULT '{}',
    key text DEFAULT NULL,
    priority integer DEFAULT 0,
    concurrency_key text DEFAULT NULL,
    available_at timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET standard_conforming_strings = on SET transform_null_equals = off SET row_security = off
AS $function$
DECLARE
    published record;
    given jsonb;
    wanted text;
    required text[];
    mistakes text;
    twin record;
    now_at bigint;
    ready_at bigint;
    made uuid;
    data jsonb := 'null';
BEGIN
    SELECT w.plan, w.parameters, w.uniq, w.requires, p.queue, p.steps INTO published
    FROM {schema}.workflows AS w JOIN {schema}.plans AS p ON p.id = w.plan
    WHERE w.name = submit.workflow;
    IF NOT FOUND THEN
        RAISE undefined_object USING
            MESSAGE = format('workflow `%s` is not known', submit.workflow),
            HINT = 'A surefoot that starts with it publishes it: a worker for its own, `surefoot submit FILE` for a file.';
    END IF;

    given := coalesce(nullif(submit.parameters, 'null'), '{}');
    IF jsonb_typeof(given) <> 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'parameters are an object, {"name": "value"}';
    END IF;
    given := {schema}.with_defaults(published.parameters, given);
    mistakes := {schema}.wrong_parameters(published.parameters, given);
    IF mistakes IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = mistakes;
    END IF;
    wanted := {schema}.unique_value(submit.workflow, published.uniq, given);
    required := {schema}.required_resources(submit.workflow, published.requires, given);

    IF submit.key IS NOT NULL OR wanted IS NOT NULL THEN
        IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
            RAISE feature_not_supported USING
                MESSAGE = 'a run with a key, or of a workflow with `unique`, is submitted at READ COMMITTED',
                DETAIL = 'At a higher isolation level a run that was submitted meanwhile with the same key is not seen.';
        END IF;
        -- The locks of `lock_keys.sql`, in the same order: until this transaction ends nobody else takes the key.
        PERFORM pg_advisory_xact_lock(locks.lock) FROM (
            SELECT hashtextextended(kind || ' ' || submit.workflow || ' ' || value, 7001) AS lock
            FROM (VALUES ('key', submit.key), ('unique', wanted)) AS taken (kind, value)
            WHERE value IS NOT NULL
            ORDER BY 1
        ) AS locks;
        SELECT r.id, r.parameters::jsonb AS parameters INTO twin FROM {schema}.runs AS r
        WHERE r.key = submit.key AND r.workflow = submit.workflow AND r.status <> 'cancelled'
        ORDER BY r.id DESC LIMIT 1;
        IF FOUND AND twin.parameters = given THEN
            RETURN twin.id;
        ELSIF FOUND THEN
            RAISE unique_violation USING MESSAGE = format(
                'the key `%s` belongs to run %s, which was submitted with other parameters', submit.key, twin.id
            );
        END IF;
        SELECT r.id, r.key, r.status, r.parameters::jsonb AS parameters INTO twin FROM {schema}.runs AS r
        WHERE r.uniq = wanted AND r.workflow = submit.workflow AND r.status <> 'cancelled'
        ORDER BY r.id DESC LIMIT 1;
        IF FOUND AND twin.parameters = given AND (submit.key IS NULL OR submit.key = twin.key) THEN
            RETURN twin.id;
        ELSIF FOUND THEN
            RAISE unique_violation USING
                MESSAGE = format('`%s` is taken by run %s (%s)', wanted, twin.id, twin.status);
        END IF;
    END IF;

    now_at := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;
    ready_at := greatest(now_at, (extract(epoch FROM submit.available_at) * 1000000)::bigint);
    IF ready_at > now_at THEN
        data := jsonb_build_object(
            'available_at', to_char(submit.available_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
        );
    END IF;
    -- A UUID of version 7: the milliseconds, then the microseconds in twelve bits, then what is random.
    made := encode(
        substr(int8send(now_at / 1000), 3) || substr(int2send((28672 + now_at % 1000 * 4096 / 1000)::smallint), 1)
            || substr(uuid_send(gen_random_uuid()), 9),
        'hex'
    )::uuid;
    INSERT INTO {schema}.runs (
        id, plan, workflow, queue, key, uniq, priority, concurrency_key, created_at, parameters,
        status, progress, available_at, ready, epoch, event_seq, requires
    ) VALUES (
        made, published.plan, submit.workflow, published.queue, submit.key, wanted, coalesce(submit.priority, 0),
        submit.concurrency_key, now_at, given::text, 'queued', 0, ready_at, ready_at <= now_at, 0, 1, required
    );
    INSERT INTO {schema}.steps (run, position, id, status)
    SELECT made, s.position - 1, s.id, 'pending' FROM unnest(published.steps) WITH ORDINALITY AS s (id, position);
    INSERT INTO {schema}.events (run, seq, at, body)
    VALUES (made, 1, now_at, jsonb_build_array(jsonb_build_array('run.submitted', NULL, data))::text);
    -- Told when the caller commits. Commits that tell wait for each other: who submits thousands a second, and can wait for the
    -- workers' polls, turns it off.
    IF current_setting('surefoot.notify', true) IS DISTINCT FROM 'off' THEN
        PERFORM pg_notify(btrim('{schema}', '"'), CASE WHEN ready_at <= now_at THEN 'work' ELSE 'any' END);
    END IF;
    RETURN made;
END
$function$;

REVOKE ALL ON FUNCTION {schema}.required_resources(text, text[], jsonb) FROM PUBLIC;
