-- The first queue after ?1 with a claimable run: a skip scan of the two indexes, however many runs
-- wait.
SELECT min(queue) FROM (
    SELECT min(queue) AS queue FROM runs WHERE ready = 1 AND started_at IS NULL AND queue > ?1
    UNION ALL SELECT min(queue) FROM runs WHERE ready = 1 AND started_at IS NOT NULL AND queue > ?1
);
