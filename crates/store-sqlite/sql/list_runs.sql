-- Runs, newest first: scans the table itself. They sort before ?5 and after ?7.
SELECT id FROM runs
WHERE id > ?7 AND id < ?5 AND (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR workflow = ?2) AND (?3 IS NULL OR queue = ?3)
  AND (?4 IS NULL OR key = ?4)
ORDER BY id DESC LIMIT ?6;
