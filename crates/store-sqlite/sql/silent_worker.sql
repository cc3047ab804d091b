-- A worker that has sent no heartbeat since the given one.
SELECT id, name FROM workers WHERE id = ?1 AND heartbeat_at = ?2;
