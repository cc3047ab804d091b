-- Tables of the store: rows, dead rows, and the time of the last vacuum.
SELECT pg_class.relname AS name,
       n_live_tup AS live,
       n_dead_tup AS dead,
       extract(epoch FROM clock_timestamp() - greatest(last_vacuum, last_autovacuum))::bigint AS vacuumed,
       pg_total_relation_size(relid) AS bytes
FROM pg_stat_user_tables JOIN pg_class ON pg_class.oid = relid WHERE relnamespace = to_regnamespace('{schema}') ORDER BY n_dead_tup DESC;
