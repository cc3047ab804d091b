-- The servers that follow this one, and what each has not written to its disk. Who may not look sees rows without contents.
SELECT coalesce(nullif(application_name, ''), host(client_addr), 'a standby') AS name,
       state,
       sync_state,
       pg_wal_lsn_diff(pg_current_wal_lsn(), flush_lsn) AS behind
FROM pg_stat_replication ORDER BY sync_state, 1 LIMIT 20;
