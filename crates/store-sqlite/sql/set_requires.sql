-- Changes what a run requires of a worker.
UPDATE runs SET requires = ?2 WHERE id = ?1;
