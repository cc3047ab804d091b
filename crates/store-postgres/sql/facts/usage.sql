-- Connections in use, and the distance of the oldest row from the wraparound of the transaction
-- counter.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       (SELECT max(age(datfrozenxid)) FROM pg_database) AS oldest,
       pg_database_size(current_database()) AS bytes;
