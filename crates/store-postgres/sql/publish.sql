-- Publishes a workflow, so that it can be submitted by name from within the database. An unchanged
-- one writes nothing.
INSERT INTO {schema}.workflows (name, plan, parameters, uniq, requires)
VALUES ($1::text, $2::integer, $3::text::jsonb, $4::text, $5::text[])
ON CONFLICT (name) DO UPDATE SET
    plan = excluded.plan, parameters = excluded.parameters, uniq = excluded.uniq, requires = excluded.requires,
    published_at = clock_timestamp()
WHERE workflows.plan <> excluded.plan;
