-- Locks the given queues that have limits: until the end of the transaction no other one starts a
-- run in them, so the counts stay valid. The order by name keeps two claims from deadlocking.
SELECT name FROM {schema}.queues WHERE name = ANY ($1::text[]) AND limited ORDER BY name FOR UPDATE;
