-- Which of these commits took place before, though their answers got lost: under an epoch, only its holder gives numbers.
SELECT r.id, r.cancel
FROM {schema}.runs AS r
JOIN unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS u (run, epoch, commits)
    ON u.run = r.id AND u.epoch = r.epoch AND u.commits = r.commits;
