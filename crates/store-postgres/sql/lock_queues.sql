-- The queues among these that hold back starts, locked: until the end of the transaction nobody else starts a run in them,
-- so that what is counted holds. In the order of their names, so that two claims do not wait for each other.
SELECT name FROM {schema}.queues WHERE name = ANY ($1::text[]) AND limited ORDER BY name FOR UPDATE;
