-- Changes the requirements of a run.
UPDATE runs SET requires = ?2 WHERE id = ?1;
