DELETE FROM {schema}.snapshot_blobs WHERE run = ANY ($1::uuid[]) AND pending RETURNING digest;
