-- Whether there is anything to take from the dead: a worker whose lease has run out, or a run of nobody's.
SELECT now, EXISTS (SELECT 1 FROM {schema}.workers WHERE expires_at <= now) OR EXISTS (
    SELECT 1 FROM {schema}.runs AS r
    WHERE status = 'running' AND NOT EXISTS (SELECT 1 FROM {schema}.workers AS w WHERE w.id = r.worker)
)
FROM (SELECT coalesce($1::bigint, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint) AS now) AS clock;
