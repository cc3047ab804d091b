-- Runs for which contents were uploaded that no snapshot came to need, and which no worker holds.
SELECT DISTINCT run FROM snapshot_blobs INDEXED BY snapshot_blobs_pending
WHERE pending = 1 AND NOT EXISTS (SELECT 1 FROM runs WHERE id = run AND status = 'running')
LIMIT ?1;
