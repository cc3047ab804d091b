-- Lets a workflow be submitted from within the database by its name. Nothing is written when it is known as it is.
INSERT INTO {schema}.workflows (name, plan, parameters, uniq, requires)
VALUES ($1::text, $2::integer, $3::text::jsonb, $4::text, $5::text[])
ON CONFLICT (name) DO UPDATE SET
    plan = excluded.plan, parameters = excluded.parameters, uniq = excluded.uniq, requires = excluded.requires,
    published_at = clock_timestamp()
WHERE workflows.plan <> excluded.plan;
