-- Steps of runs, in order.
SELECT run, status, progress, message, attempt, interruptions, started_at, completed_at, error, output, wait, checkpoint,
       answer, snapshot, undo, deferrals, decision, undo_note, id, isolation, crashes
FROM {schema}.steps WHERE run = ANY ($1::uuid[]) ORDER BY run, position;
