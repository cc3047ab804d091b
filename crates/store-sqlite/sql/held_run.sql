-- What a commit (?4) has to know of the run that it writes to; no row when the lease is lost, or when another commit than the
-- one that it follows was the last. A row that has its number already says that it took place: nobody else gives numbers
-- under an epoch.
SELECT event_seq, cancel, queue, commits FROM runs
WHERE id = ?1 AND epoch = ?3 AND (commits = ?4 OR commits = ?4 - 1 AND status = 'running' AND worker = ?2);
