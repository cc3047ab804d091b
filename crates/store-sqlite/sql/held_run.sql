-- Facts that a commit (?4) needs of its run. No row if the lease is lost, or if the last commit is
-- not the one that it follows. A row that already has its number shows that it was written: no
-- other worker assigns numbers under this epoch.
SELECT event_seq, cancel, queue, commits FROM runs
WHERE id = ?1 AND epoch = ?3 AND (commits = ?4 OR commits = ?4 - 1 AND status = 'running' AND worker = ?2);
