-- The given commits that were written before, though their answers were lost: only the holder of an
-- epoch assigns numbers under it.
SELECT r.id, r.cancel
FROM {schema}.runs AS r
JOIN unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (run, epoch, commits)
    ON u.run = r.id AND u.epoch = r.epoch AND u.commits = r.commits;
