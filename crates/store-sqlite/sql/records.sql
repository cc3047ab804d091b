-- Every record, or those with a name.
SELECT kind, name, run, data, created_at, updated_at FROM records
WHERE ?1 IS NULL AND ?3 IS NULL AND (?2 IS NULL OR name = ?2)
  AND name > ifnull(?4, '') AND name >= ?5 AND name < ?6
ORDER BY kind, name LIMIT ?7;
