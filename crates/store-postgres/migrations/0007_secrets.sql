-- The secret parameters of a run, encrypted: the identity of their key, a colon, and base64. In `parameters` they are replaced.
ALTER TABLE {schema}.runs ADD COLUMN sealed text;

ALTER FUNCTION {schema}.wrong_parameters(jsonb, jsonb) RENAME TO misfitting_parameters;

-- Whether a JSON Schema marks anything in it as secret.
CREATE FUNCTION {schema}.marks_secrets(rules jsonb) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT jsonb_path_exists(rules, 'lax $.** ? (@.writeOnly == true || @.format == "password")')
$function$;

-- Which parameters are secret: only surefoot has the key to encrypt them. Their values are not told. Marks that do not stand
-- within a parameter's own rule may be of any of them.
CREATE FUNCTION {schema}.secret_parameters(rules jsonb, given jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT string_agg(
        format(
            'parameter %s: is or may be secret, and cannot be encrypted here: submit the run through surefoot, or give the name of a credential',
            name
        ),
        '; '
    )
    FROM jsonb_each(given) AS parameters (name, value)
    WHERE value <> 'null'
        AND value IS DISTINCT FROM CASE jsonb_typeof(rules #> ARRAY['properties', name])
            WHEN 'object' THEN rules #> ARRAY['properties', name, 'default']
        END
        AND ({schema}.marks_secrets(rules #> ARRAY['properties', name]) OR {schema}.marks_secrets(rules - 'properties'))
$function$;

-- What is wrong with parameters, for people; null when nothing is.
CREATE FUNCTION {schema}.wrong_parameters(rules jsonb, given jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT coalesce({schema}.secret_parameters(rules, given), {schema}.misfitting_parameters(rules, given))
$function$;

REVOKE ALL ON FUNCTION {schema}.marks_secrets(jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.secret_parameters(jsonb, jsonb) FROM PUBLIC;
REVOKE ALL ON FUNCTION {schema}.wrong_parameters(jsonb, jsonb) FROM PUBLIC;
