-- Steps of a run, in order.
SELECT status, progress, message, attempt, interruptions, started_at, completed_at, error, output, wait, checkpoint,
       answer, snapshot, undo, deferrals, decision, undo_note, id, isolation, crashes
FROM steps WHERE run = ?1 ORDER BY position;
