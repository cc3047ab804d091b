-- The given contents that exist; they stay until the end of the transaction.
SELECT digest FROM {schema}.blobs WHERE digest = ANY ($1::bytea[]) ORDER BY digest FOR KEY SHARE;
