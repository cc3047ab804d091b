-- Ended runs by outcome, over spans of $1 seconds (0: for ever) that begin at $2 or later. Minutes
-- that are still kept separately are not yet part of their hour.
SELECT span_at, queue, outcome, slot, sum(count)::bigint FROM (
    SELECT CASE $1::smallint WHEN 0 THEN 0 ELSE at - at % ($1 * 1000000::bigint) END AS span_at, queue, outcome, slot, count
    FROM {schema}.tallies WHERE span = $1 OR span = 60
) AS t
WHERE span_at >= $2::bigint
GROUP BY 1, 2, 3, 4;
