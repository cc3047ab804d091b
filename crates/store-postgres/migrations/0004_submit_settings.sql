-- The functions that any session may call mean the same whatever that session has set. `standard_conforming_strings` changes
-- the patterns in them, `row_security` and `transform_null_equals` what a query finds.
ALTER FUNCTION {schema}.submit(text, jsonb, text, integer, text, timestamptz) SET standard_conforming_strings = on;
ALTER FUNCTION {schema}.submit(text, jsonb, text, integer, text, timestamptz) SET transform_null_equals = off;
ALTER FUNCTION {schema}.submit(text, jsonb, text, integer, text, timestamptz) SET row_security = off;
ALTER FUNCTION {schema}.unique_value(text, text, jsonb) SET standard_conforming_strings = on;
