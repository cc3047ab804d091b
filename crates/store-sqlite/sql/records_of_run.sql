-- Records of a run.
SELECT kind, name, run, data, created_at, updated_at FROM records
WHERE run = ?3 AND (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR name = ?2)
  AND name > ifnull(?4, '') AND name >= ?5 AND name < ?6
ORDER BY kind, name LIMIT ?7;
