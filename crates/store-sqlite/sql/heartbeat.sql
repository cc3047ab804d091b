-- Two successive heartbeats of a worker never have the same time, whatever the clock does.
UPDATE workers SET
    heartbeat_at = CASE WHEN ?2 > heartbeat_at - 1000000 AND ?2 <= heartbeat_at THEN heartbeat_at + 1 ELSE ?2 END,
    expires_at = ?2 + lease
WHERE id = ?1;
