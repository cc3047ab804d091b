-- Returns the number of a plan, which is added if it is new.
INSERT INTO {schema}.plans (digest, workflow, queue, steps, json, format)
VALUES ($1::bytea, $2::text, $3::text, $4::text[], $5::text, $6::integer)
ON CONFLICT (digest) DO NOTHING;
