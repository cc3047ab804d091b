DELETE FROM {schema}.snapshot_blobs WHERE run = ANY ($1::uuid[]) RETURNING digest;
