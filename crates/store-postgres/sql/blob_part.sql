-- Of a content that is stored as it is, only the part is read.
SELECT substring(content FROM $2::integer FOR $3::integer) FROM {schema}.blobs WHERE digest = $1::bytea;
