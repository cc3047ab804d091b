-- The format of a plan's JSON: a build reads no newer one than its own, and leaves runs of it to those that do.
ALTER TABLE {schema}.plans ADD COLUMN format integer NOT NULL DEFAULT 1 CHECK (format > 0);

-- What is wrong with parameters, the limits of the engine's `limits/value.rs` first: a value beyond them could never be read.
ALTER FUNCTION {schema}.wrong_parameters(jsonb, jsonb) RENAME TO parameters_against_schema;
CREATE FUNCTION {schema}.wrong_parameters(rules jsonb, given jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
AS $function$
    SELECT CASE
        WHEN octet_length(given::text) > 16777216 THEN
            'the parameters have more than 16 MiB as JSON: keep large data in files'
        WHEN jsonb_path_exists(given, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")') THEN
            'the parameters are nested more than 64 levels deep: flatten them'
        ELSE {schema}.parameters_against_schema(rules, given)
    END
$function$;
REVOKE ALL ON FUNCTION {schema}.wrong_parameters(jsonb, jsonb) FROM PUBLIC;
