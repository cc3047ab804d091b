-- The rule for keys, in the words of the engine's `keys.rs`: a line of 1 to 255 characters.

CREATE FUNCTION {schema}.check_key(what text, given text, may_be_empty boolean) RETURNS void
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $function$
BEGIN
    IF given = '' AND NOT may_be_empty THEN
        RAISE invalid_parameter_value
            USING MESSAGE = format('the %s is empty: give 1 to 255 characters, or leave it out', what);
    ELSIF char_length(given) > 255 THEN
        RAISE invalid_parameter_value
            USING MESSAGE = format('the %s has %s characters: 255 are allowed', what, char_length(given));
    ELSIF given ~ '[\x01-\x1f\x7f-\x9f]' AND NOT may_be_empty THEN
        RAISE invalid_parameter_value
            USING MESSAGE = format('the %s holds a control character: give a single line of text', what);
    END IF;
END
$function$;

REVOKE ALL ON FUNCTION {schema}.check_key(text, text, boolean) FROM PUBLIC;

-- `submit` as it stands, with the rule asked before its first look at a key.
DO $patch$
DECLARE
    before text := pg_get_functiondef('{schema}.submit(text, jsonb, text, integer, text, timestamptz)'::regprocedure);
    place text := E'    IF submit.key IS NOT NULL OR wanted IS NOT NULL THEN\n';
    asked text := E'    PERFORM {schema}.check_key(''key'', submit.key, false);\n'
        '    PERFORM {schema}.check_key(''concurrency key'', submit.concurrency_key, false);\n'
        '    PERFORM {schema}.check_key(''value of `unique`'', wanted, true);\n';
BEGIN
    IF position(place IN before) = 0 THEN
        RAISE 'the function submit is not as it was made';
    END IF;
    EXECUTE replace(before, place, asked || place);
END
$patch$;
