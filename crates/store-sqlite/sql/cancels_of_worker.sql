-- Runs of a worker that a person has cancelled and that run still.
SELECT id, cancel FROM runs WHERE status = 'running' AND cancel IS NOT NULL AND worker = ?1 ORDER BY id;
