-- Number of keys and unique values that begin with a text (from ?1 up to ?2), up to ?3 of each.
SELECT (SELECT count(*) FROM (
            SELECT 1 FROM runs INDEXED BY runs_key WHERE key >= ?1 AND key < ?2 AND status <> 'cancelled' LIMIT ?3))
     + (SELECT count(*) FROM (
            SELECT 1 FROM runs INDEXED BY runs_uniq WHERE uniq >= ?1 AND uniq < ?2 AND status <> 'cancelled' LIMIT ?3));
