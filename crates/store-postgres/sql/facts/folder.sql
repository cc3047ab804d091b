-- Data directory of the server; visible only to roles that may read all settings.
SELECT current_setting('data_directory') AS folder, inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr() AS here;
