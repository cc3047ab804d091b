DELETE FROM snapshot_blobs WHERE run = ?1;
