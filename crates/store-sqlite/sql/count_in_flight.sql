-- Runs of a worker that have a step or an undo in flight.
SELECT count(*) FROM runs INDEXED BY runs_running
WHERE status = 'running' AND worker = ?1 AND EXISTS (
    SELECT 1 FROM steps
    WHERE steps.run = runs.id AND (steps.status = 'running' OR steps.undo = 'running' AND runs.cancel = 'undo')
);
