UPDATE steps SET status = ?3, progress = ?4, message = ?5, attempt = ?6, interruptions = ?7, started_at = ?8,
                 completed_at = ?9, error = ?10, output = ?11, wait = ?12, checkpoint = ?13, answer = ?14,
                 snapshot = ?15, undo = ?16, deferrals = ?17, decision = ?18, undo_note = ?19, isolation = ?20, crashes = ?21
WHERE run = ?1 AND position = ?2;
