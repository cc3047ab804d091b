-- The number of this transaction, for `is_over.sql`.
SELECT pg_current_xact_id()::text;
