-- Records of a kind.
SELECT kind, name, run, data, created_at, updated_at FROM records
WHERE ?3 IS NULL AND kind = ?1 AND (?2 IS NULL OR name = ?2) AND name > ifnull(?4, '') AND name >= ?5 AND name < ?6
ORDER BY kind, name LIMIT ?7;
