SELECT rowid FROM blobs WHERE digest = ?1;
