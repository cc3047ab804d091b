-- Locks keys and unique values that are about to be looked up and taken, so that one submission
-- follows the other over all processes. The order of the locks keeps two batches from deadlocking.
-- `surefoot.submit` takes the same locks.
SELECT pg_advisory_xact_lock(k) FROM (
    SELECT DISTINCT hashtextextended(kind || ' ' || workflow || ' ' || value, 7001) AS k
    FROM unnest($1::text[], $2::text[], $3::text[]) AS u (kind, workflow, value)
    ORDER BY k
) AS keys;
