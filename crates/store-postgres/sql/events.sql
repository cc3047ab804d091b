-- The commits of a run that have events after one.
SELECT seq, at, body FROM {schema}.events WHERE run = $1::uuid AND seq > $2::bigint ORDER BY seq LIMIT $3::bigint;
