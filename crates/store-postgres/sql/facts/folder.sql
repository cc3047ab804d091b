-- Where the server keeps its data; only who may read all settings is told.
SELECT current_setting('data_directory') AS folder, inet_server_addr() IS NULL OR inet_server_addr() = inet_client_addr() AS here;
