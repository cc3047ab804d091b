-- Adds minutes that no chart shows any more to their hour, and to the total that is kept for ever.
WITH gone AS (
    DELETE FROM {schema}.tallies WHERE span = 60 AND at < $1::bigint RETURNING at, queue, outcome, slot, count
)
INSERT INTO {schema}.tallies (span, at, queue, outcome, slot, writer, count)
SELECT span, CASE span WHEN 0 THEN 0 ELSE at - at % 3600000000 END, queue, outcome, slot, 0, sum(count)
FROM gone CROSS JOIN (VALUES (0), (3600)) AS spans (span)
GROUP BY 1, 2, 3, 4, 5
ORDER BY 1, 2, 3, 4, 5
ON CONFLICT (span, at, queue, outcome, slot, writer) DO UPDATE SET count = tallies.count + excluded.count;
