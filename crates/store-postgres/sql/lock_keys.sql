-- Keys and unique values that are about to be looked for and taken: one submission after the other, over all processes. In
-- the order of the locks, so that two groups do not wait for each other. `surefoot.submit` takes the same locks.
SELECT pg_advisory_xact_lock(k) FROM (
    SELECT DISTINCT hashtextextended(kind || ' ' || workflow || ' ' || value, 7001) AS k
    FROM unnest($1::text[], $2::text[], $3::text[]) AS u (kind, workflow, value)
    ORDER BY k
) AS keys;
