SELECT run FROM records WHERE kind = ?1 AND name = ?2;
