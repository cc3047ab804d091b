-- Plans of runs that wait for a worker: a skip scan of the index of plans, one step for each plan.
WITH RECURSIVE live (plan) AS (
    SELECT min(plan) FROM runs WHERE ready IS NOT NULL
    UNION ALL
    SELECT (SELECT min(runs.plan) FROM runs WHERE ready IS NOT NULL AND runs.plan > live.plan) FROM live
    WHERE live.plan IS NOT NULL
)
SELECT plan FROM live WHERE plan IS NOT NULL;
