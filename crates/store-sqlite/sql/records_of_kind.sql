-- Records of one kind.
SELECT kind, name, run, data, created_at, updated_at FROM records
WHERE ?3 IS NULL AND kind = ?1 AND (?2 IS NULL OR name = ?2)
ORDER BY kind, name;
