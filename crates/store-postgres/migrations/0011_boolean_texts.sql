-- A boolean in the value of `unique` is written as the engine's expressions write it: true, false.
DO $patch$
DECLARE
    before text := pg_get_functiondef('{schema}.unique_value(text, text, jsonb)'::regprocedure);
    place text := 'CASE jsonb_typeof(value) WHEN ''boolean'' THEN initcap(value #>> ''{}'') ELSE value #>> ''{}'' END';
    comment text := '-- As the engine writes them: True, False.';
BEGIN
    IF position(place IN before) = 0 THEN
        RAISE 'the function unique_value is not as it was made';
    END IF;
    EXECUTE replace(replace(before, place, '(value #>> ''{}'')'), comment, '-- As the engine writes them: true, false.');
END
$patch$;
