-- Allow-lists: the workflows and actions that a queue permits, and the workflows that a worker
-- permits. Null permits everything. An older surefoot submits without looking at a queue's lists;
-- what is submitted by `submit` looks at them.
ALTER TABLE {schema}.queues ADD COLUMN workflows text[] COLLATE "C", ADD COLUMN actions text[] COLLATE "C";
-- A JSON array.
ALTER TABLE {schema}.workers ADD COLUMN workflows text;

-- Returns whether an allow-list permits all of these names: without a list it does, with one each
-- of them must match an entry, in which `*` stands for any characters. As `AllowList::permits` in
-- the engine's `allow.rs`.
CREATE FUNCTION {schema}.permits_all(list text[], names text[]) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $function$
    SELECT list IS NULL OR NOT EXISTS (
        SELECT FROM unnest(names) AS given (name)
        WHERE NOT EXISTS (
            SELECT FROM unnest(list) AS permitted (entry)
            WHERE name COLLATE "C" LIKE replace(
                replace(replace(replace(entry, '\', '\\'), '%', '\%'), '_', '\_'), '*', '%'
            ) COLLATE "C"
        )
    )
$function$;

-- The actions of a plan's steps.
CREATE FUNCTION {schema}.actions_of(plan text) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT ARRAY (SELECT DISTINCT step ->> 'action' FROM jsonb_array_elements(plan::jsonb -> 'steps') AS steps (step))
$function$;

-- What a queue's allow-lists refuse of a plan, for people, in the words of the engine's
-- `NotPermitted`; null when nothing is.
CREATE FUNCTION {schema}.not_permitted(plan integer) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT CASE
        WHEN NOT {schema}.permits_all(q.workflows, ARRAY[p.workflow]) THEN format(
            'queue `%s` does not permit workflow `%s` (permitted: %s)',
            q.name, p.workflow, coalesce(nullif(array_to_string(q.workflows, ', '), ''), 'none')
        )
        WHEN NOT {schema}.permits_all(q.actions, {schema}.actions_of(p.json)) THEN (
            SELECT format(
                'queue `%s` does not permit %s %s (permitted: %s)',
                q.name, CASE count(*) WHEN 1 THEN 'action' ELSE 'actions' END,
                string_agg(action, ', ' ORDER BY action COLLATE "C"),
                coalesce(nullif(array_to_string(q.actions, ', '), ''), 'none')
            )
            FROM unnest({schema}.actions_of(p.json)) AS actions (action)
            WHERE NOT {schema}.permits_all(q.actions, ARRAY[action])
        )
    END
    FROM {schema}.plans AS p JOIN {schema}.queues AS q ON q.name = p.queue
    WHERE p.id = not_permitted.plan AND (q.workflows IS NOT NULL OR q.actions IS NOT NULL)
$function$;

REVOKE ALL ON FUNCTION {schema}.permits_all(text[], text[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.actions_of(text) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.not_permitted(integer) FROM PUBLIC;

-- `submit` as it stands, with the lists asked once it is known that the run is not there already.
DO $patch$
DECLARE
    before text := pg_get_functiondef('{schema}.submit(text, jsonb, text, integer, text, timestamptz)'::regprocedure);
    place text := E'    now_at := (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;\n';
    asked text := E'    mistakes := {schema}.not_permitted(published.plan);\n'
        '    IF mistakes IS NOT NULL THEN\n'
        '        RAISE insufficient_privilege USING\n'
        '            MESSAGE = mistakes,\n'
        '            HINT = ''`surefoot queue set` changes the allow-lists of a queue.'';\n'
        '    END IF;\n\n';
BEGIN
    IF position(place IN before) = 0 THEN
        RAISE 'the function submit is not as it was made';
    END IF;
    EXECUTE replace(before, place, asked || place);
END
$patch$;
