-- A commit after which the same worker holds the run still. It names no indexed column, which spares SQLite the taking out
-- and putting back of index entries: the most frequent write of all.
UPDATE runs SET progress = ?2, error = ?3, event_seq = ?4, commits = ?5 WHERE id = ?1;
