-- Settings of the server in a session of the store. A setting unknown to this version is null.
SELECT current_setting('server_version_num') AS version,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('wal_level') AS wal_level,
       current_setting('synchronous_standby_names') AS synchronous_standby_names,
       current_setting('data_checksums') AS data_checksums,
       current_setting('autovacuum') AS autovacuum,
       current_setting('max_connections') AS max_connections,
       current_setting('superuser_reserved_connections') AS reserved_connections,
       pg_is_in_recovery() AS in_recovery;
