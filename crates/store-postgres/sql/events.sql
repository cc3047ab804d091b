-- Commits of a run with events after a sequence number.
SELECT seq, at, body FROM {schema}.events WHERE run = $1::uuid AND seq > $2::bigint ORDER BY seq LIMIT $3::bigint;
