SELECT count(*) FROM (
    SELECT 1 FROM runs WHERE status = ?1 AND (status = 'failed' OR status = 'cancelled') LIMIT ?2
);
