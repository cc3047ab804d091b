SELECT 1 FROM blobs WHERE digest = ?1;
