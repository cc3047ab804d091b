-- Sets of resources required by runs that wait for a worker: a skip scan of their index, one step
-- for each set.
WITH RECURSIVE live (requires) AS (
    SELECT min(requires) FROM runs WHERE requires IS NOT NULL AND ready IS NOT NULL
    UNION ALL
    SELECT (
        SELECT min(runs.requires) FROM runs
        WHERE requires IS NOT NULL AND ready IS NOT NULL AND runs.requires > live.requires
    )
    FROM live WHERE live.requires IS NOT NULL
)
SELECT requires FROM live WHERE requires IS NOT NULL;
