-- Connections that are taken; and how far the oldest row is from where the counter of transactions would overtake it.
SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       (SELECT max(age(datfrozenxid)) FROM pg_database) AS oldest,
       pg_database_size(current_database()) AS bytes;
