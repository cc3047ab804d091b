-- Obstacles that keep vacuum from removing dead rows, oldest first: open transactions, prepared
-- ones, replication slots. Sessions of other users show their state only to roles that may read all
-- statistics.
(SELECT 'transaction' AS kind,
        format('process %s (%s, %s)', pid, coalesce(nullif(application_name, ''), usename, '?'), coalesce(state, 'state not shown')) AS name,
        extract(epoch FROM clock_timestamp() - xact_start)::bigint AS seconds,
        null::bigint AS bytes
 FROM pg_stat_activity
 WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
   AND xact_start < clock_timestamp() - CASE WHEN state LIKE 'idle in transaction%' THEN interval '10 s' ELSE interval '5 min' END
 ORDER BY xact_start LIMIT 5)
UNION ALL
(SELECT 'prepared', gid, extract(epoch FROM clock_timestamp() - prepared)::bigint, null
 FROM pg_prepared_xacts WHERE prepared < clock_timestamp() - interval '10 s' ORDER BY prepared LIMIT 5)
UNION ALL
(SELECT 'slot', slot_name, null, pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)::bigint
 FROM pg_replication_slots WHERE NOT active ORDER BY restart_lsn LIMIT 5);
