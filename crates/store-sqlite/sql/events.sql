-- Commits of a run with events after a sequence number.
SELECT seq, at, body FROM events WHERE run = ?1 AND seq > ?2 ORDER BY seq;
