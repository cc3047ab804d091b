-- For each of these workers: its runs that have a step or an undo in flight.
SELECT r.worker, count(*) FROM {schema}.runs AS r
WHERE r.status = 'running' AND r.worker = ANY ($1::uuid[]) AND EXISTS (
    SELECT 1 FROM {schema}.steps AS s
    WHERE s.run = r.id AND (s.status = 'running' OR s.undo = 'running' AND r.cancel = 'undo')
)
GROUP BY r.worker;
