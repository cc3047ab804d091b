-- Returns whether every transaction sees what the transaction $1 wrote: those that began before it
-- have ended.
SELECT pg_snapshot_xmin(pg_current_snapshot()) > $1::text::xid8;
