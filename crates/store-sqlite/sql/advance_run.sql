-- A commit after which the same worker still holds the run. It names no indexed column, which
-- spares SQLite the removal and insertion of index entries: this is the most frequent write.
UPDATE runs SET progress = ?2, error = ?3, event_seq = ?4, commits = ?5 WHERE id = ?1;
