INSERT INTO tallies (span, at, queue, outcome, slot, count) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
ON CONFLICT (span, at, queue, outcome, slot) DO UPDATE SET count = count + excluded.count;
