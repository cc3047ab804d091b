SELECT content FROM {schema}.blobs WHERE digest = $1::bytea;
