-- The last heartbeat of every worker, and whether a run is held by a worker without a row. Returns
-- at least one row.
SELECT orphans.found, w.id, w.heartbeat_at, w.lease
FROM (
    SELECT EXISTS (
        SELECT 1 FROM {schema}.runs AS r
        WHERE status = 'running' AND NOT EXISTS (SELECT 1 FROM {schema}.workers AS w WHERE w.id = r.worker)
    ) AS found
) AS orphans
LEFT JOIN {schema}.workers AS w ON true;
