-- Runs of a workflow, newest first.
SELECT id FROM runs INDEXED BY runs_workflow
WHERE workflow = ?2 AND id > ?7 AND id < ?5 AND (?1 IS NULL OR status = ?1) AND (?3 IS NULL OR queue = ?3) AND (?4 IS NULL OR key = ?4)
ORDER BY id DESC LIMIT ?6;
