-- Submitting from within the database: any client, in its own transaction. The run is there if and only if that transaction
-- commits.
--
-- Older workers do not look at any of this: they run what is submitted here as what is submitted by a client.

-- The workflows that may be submitted by their name alone, as the process that started last with them knows them.
CREATE TABLE {schema}.workflows (
    name text COLLATE "C" PRIMARY KEY,
    plan integer NOT NULL REFERENCES {schema}.plans (id),
    -- The JSON Schema of its parameters, and its `unique`.
    parameters jsonb NOT NULL,
    uniq text,
    published_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);

-- `given` with the defaults of `rules`, a JSON Schema: a default stands for an absent property of an object, at any depth where
-- the object itself is given. As `defaults` in the engine's `workflow/check.rs`.
CREATE FUNCTION {schema}.with_defaults(rules jsonb, given jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    result jsonb := given;
    name text;
    rule jsonb;
BEGIN
    IF jsonb_typeof(given) <> 'object' OR jsonb_typeof(rules -> 'properties') IS DISTINCT FROM 'object' THEN
        RETURN given;
    END IF;
    FOR name, rule IN SELECT * FROM jsonb_each(rules -> 'properties') LOOP
        IF given ? name THEN
            result := jsonb_set(result, ARRAY[name], {schema}.with_defaults(rule, given -> name));
        ELSIF jsonb_typeof(rule) = 'object' AND rule ? 'default' THEN
            result := result || jsonb_build_object(name, rule -> 'default');
        END IF;
    END LOOP;
    RETURN result;
END
$function$;

-- What of a JSON Schema is wrong with parameters, for people; null when nothing is. The greater part of the mistakes that
-- people make: what is required, what is unknown, its type and its choices. The rest the worker finds that first takes the
-- run, which then fails at its first step before anything is run.
CREATE FUNCTION {schema}.wrong_parameters(rules jsonb, given jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    WITH properties AS (
        SELECT r.key AS name, r.value AS rule, given -> r.key AS value
        FROM jsonb_each(CASE jsonb_typeof(rules -> 'properties') WHEN 'object' THEN rules -> 'properties' ELSE '{}' END) AS r
        WHERE given ? r.key AND jsonb_typeof(r.value) = 'object'
    ),
    mistakes AS (
        SELECT format('parameter %s: is required', name) AS mistake
        FROM jsonb_array_elements_text(
            CASE jsonb_typeof(rules -> 'required') WHEN 'array' THEN rules -> 'required' ELSE '[]' END
        ) AS required (name)
        WHERE NOT given ? name
        UNION ALL
        SELECT format('parameter %s: is not a parameter of this workflow', name)
        FROM jsonb_object_keys(given) AS keys (name)
        WHERE rules -> 'additionalProperties' = 'false' AND NOT rules ? 'patternProperties'
            AND NOT coalesce(rules -> 'properties' ? name, false)
        UNION ALL
        SELECT format('parameter %s: %s is not of type %s', name, value, rule ->> 'type')
        FROM properties
        WHERE rule ? 'type' AND NOT EXISTS (
            SELECT FROM jsonb_array_elements_text(
                CASE jsonb_typeof(rule -> 'type') WHEN 'array' THEN rule -> 'type' ELSE jsonb_build_array(rule -> 'type') END
            ) AS types (type)
            WHERE type = jsonb_typeof(value) OR type = 'integer' AND CASE
                WHEN jsonb_typeof(value) = 'number' THEN trunc(value::numeric) = value::numeric
            END
        )
        UNION ALL
        SELECT format('parameter %s: %s is not one of %s', name, value, rule -> 'enum')
        FROM properties
        WHERE jsonb_typeof(rule -> 'enum') = 'array'
            AND NOT EXISTS (SELECT FROM jsonb_array_elements(rule -> 'enum') AS choices (choice) WHERE choice = value)
    )
    SELECT string_agg(mistake, '; ') FROM mistakes
$function$;

-- The value of a workflow's `unique`. Texts, whole numbers and booleans among the parameters are what it may name here; the
-- rest of the language of expressions is the engine's.
CREATE FUNCTION {schema}.unique_value(workflow text, template text, parameters jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    rest text := template;
    result text := '';
    place integer;
    inside text;
    value jsonb;
BEGIN
    IF template IS NULL THEN
        RETURN NULL;
    END IF;
    LOOP
        place := position('${{' IN rest);
        IF place = 0 THEN
            RETURN result || rest;
        END IF;
        result := result || left(rest, place - 1);
        rest := substr(rest, place + 3);
        place := position('}}' IN rest);
        inside := btrim(left(rest, greatest(place - 1, 0)), E' \t\r\n');
        rest := substr(rest, place + 2);
        IF inside !~ '^parameters(\.[A-Za-z_][A-Za-z0-9_]*)+$' THEN
            RAISE feature_not_supported USING
                MESSAGE = format('the `unique` of workflow %s has more than parameters in it: `%s`', workflow, inside),
                HINT = 'Submit it through surefoot.';
        END IF;
        value := parameters #> string_to_array(substr(inside, 12), '.');
        IF NOT coalesce(
            jsonb_typeof(value) IN ('string', 'boolean')
                OR jsonb_typeof(value) = 'number' AND value #>> '{}' ~ '^-?[0-9]+$',
            false
        ) THEN
            RAISE invalid_parameter_value USING MESSAGE = format(
                'the `unique` of workflow %s needs a text, a whole number or a boolean in %s', workflow, inside
            );
        END IF;
        -- As the engine writes them: True, False.
        result := result || CASE jsonb_typeof(value) WHEN 'boolean' THEN initcap(value #>> '{}') ELSE value #>> '{}' END;
    END LOOP;
END
$function$;

-- Submits a run and gives its id. The same key again, with the same parameters, gives the same run.
--
-- It runs with the rights of the schema's owner: whoever may call it need not see the tables. Nobody may until it is granted.
CREATE FUNCTION {schema}.submit(
    workflow text,
    parameters jsonb DEFAULT '{}',
    key text DEFAULT NULL,
    priority integer DEFAULT 0,
    concurrency_key text DEFAULT NULL,
    available_at timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $function$
DECLARE
    published record;
    given jsonb;
    wanted text;
    mistakes text;
    twin record;
    now_at bigint;
    ready_at bigint;
    made uuid;
    data jsonb := 'null';
BEGIN
    SELECT w.plan, w.parameters, w.uniq, p.queue, p.steps INTO published
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
        status, progress, available_at, ready, epoch, event_seq
    ) VALUES (
        made, published.plan, submit.workflow, published.queue, submit.key, wanted, coalesce(submit.priority, 0),
        submit.concurrency_key, now_at, given::text, 'queued', 0, ready_at, ready_at <= now_at, 0, 1
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

REVOKE ALL ON FUNCTION {schema}.submit(text, jsonb, text, integer, text, timestamptz) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.with_defaults(jsonb, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.wrong_parameters(jsonb, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.unique_value(text, text, jsonb) FROM PUBLIC;
