-- Like list_runs_with_text, for a prefix that very many runs share: scans the table itself, and
-- soon has enough.
SELECT id FROM runs
WHERE id > ?7 AND id < ?5 AND (?1 IS NULL OR status = ?1) AND (?2 IS NULL OR workflow = ?2) AND (?3 IS NULL OR queue = ?3)
  AND (?4 IS NULL OR key = ?4)
  AND (key >= ?9 AND key < ?10 OR uniq >= ?9 AND uniq < ?10 OR id = ?11)
ORDER BY id DESC LIMIT ?6;
