-- Contents that were uploaded for a run, that no snapshot of it needs and no other run does.
DELETE FROM blobs WHERE digest IN (
    SELECT digest FROM snapshot_blobs AS mine WHERE run = ?1 AND pending = 1
    AND NOT EXISTS (SELECT 1 FROM snapshot_blobs AS other WHERE other.digest = mine.digest AND other.run <> ?1)
);
