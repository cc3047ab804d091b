DELETE FROM snapshot_blobs WHERE run = ?1 AND pending = 1;
