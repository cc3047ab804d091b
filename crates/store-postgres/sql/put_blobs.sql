-- Adds contents that a run needs from now on, if its lease holds: until this is committed it is
-- neither given to another worker nor ended, and so a prune finds all that was uploaded for it.
WITH held AS (
    SELECT id FROM {schema}.runs
    WHERE id = $1::uuid AND worker = $2::uuid AND epoch = $3::bigint AND status = 'running' FOR SHARE
), given AS (
    SELECT digest, content FROM unnest($4::bytea[], $5::bytea[]) AS u (digest, content) WHERE EXISTS (SELECT FROM held)
), blobs AS (
    INSERT INTO {schema}.blobs (digest, content) SELECT digest, content FROM given ORDER BY digest
    ON CONFLICT (digest) DO NOTHING
), needs AS (
    INSERT INTO {schema}.snapshot_blobs (run, digest, pending) SELECT $1::uuid, digest, true FROM given ORDER BY digest
    ON CONFLICT (run, digest) DO NOTHING
)
SELECT EXISTS (SELECT FROM held);
