-- The last heartbeat of every worker.
SELECT id, heartbeat_at, lease FROM workers;
