-- What a commit has to know of the run that it writes to; no row when the lease is lost.
SELECT event_seq, cancel, queue FROM runs WHERE id = ?1 AND status = 'running' AND worker = ?2 AND epoch = ?3;
