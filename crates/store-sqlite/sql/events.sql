-- The commits of a run that have events after one.
SELECT seq, at, body FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq;
