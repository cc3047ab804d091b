-- Standbys of this server, and the log that each has not written to its disk. Roles without the
-- right see rows without content.
SELECT coalesce(nullif(application_name, ''), host(client_addr), 'a standby') AS name,
       state,
       sync_state,
       pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn) AS behind
FROM pg_stat_replication ORDER BY sync_state, 1 LIMIT 20;
