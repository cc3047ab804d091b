INSERT INTO {schema}.tallies (span, at, queue, outcome, slot, writer, count)
SELECT 60, at, queue, outcome, slot, $6::integer, count
FROM unnest($1::bigint[], $2::text[], $3::text[], $4::smallint[], $5::bigint[]) AS t (at, queue, outcome, slot, count)
ON CONFLICT (span, at, queue, outcome, slot, writer) DO UPDATE SET count = tallies.count + excluded.count;
