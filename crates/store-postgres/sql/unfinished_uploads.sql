-- Runs for which contents were uploaded that no snapshot came to need, and which no worker holds;
-- none takes them meanwhile.
SELECT id FROM {schema}.runs
WHERE id IN (SELECT run FROM {schema}.snapshot_blobs WHERE pending) AND status <> 'running'
LIMIT $1::bigint FOR UPDATE SKIP LOCKED;
