-- Overview of claimable work, the only query of an idle worker. Queues with claimable runs are
-- found by a skip scan of the two indexes, and plans of waiting runs by a skip scan of theirs,
-- however many wait.
WITH RECURSIVE clock AS (
    SELECT coalesce($2::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now
),
named (name) AS (
    SELECT least(
        (SELECT min(queue) FROM {schema}.runs WHERE ready AND started_at IS NULL),
        (SELECT min(queue) FROM {schema}.runs WHERE ready AND started_at IS NOT NULL)
    )
    UNION ALL
    SELECT least(
        (SELECT min(queue) FROM {schema}.runs WHERE ready AND started_at IS NULL AND queue > named.name),
        (SELECT min(queue) FROM {schema}.runs WHERE ready AND started_at IS NOT NULL AND queue > named.name)
    )
    FROM named WHERE named.name IS NOT NULL
),
live (plan) AS (
    SELECT min(plan) FROM {schema}.runs WHERE available_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(plan) FROM {schema}.runs WHERE available_at IS NOT NULL AND runs.plan > live.plan)
    FROM live WHERE live.plan IS NOT NULL
)
SELECT
    clock.now,
    EXISTS (SELECT 1 FROM {schema}.workers WHERE id = $1::uuid),
    EXISTS (SELECT 1 FROM {schema}.runs WHERE ready AND cancel IS NOT NULL),
    (SELECT min(available_at) FROM {schema}.runs WHERE ready IS FALSE),
    ARRAY (SELECT plan FROM live WHERE plan IS NOT NULL),
    ARRAY (SELECT name FROM named WHERE name IS NOT NULL),
    ARRAY (
        SELECT coalesce(q.limited, false) FROM named LEFT JOIN {schema}.queues AS q USING (name) WHERE name IS NOT NULL
        ORDER BY name
    )
FROM clock;
