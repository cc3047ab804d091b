-- Runs whose time has come become claimable. A row locked by another process is left to it.
UPDATE {schema}.runs SET ready = true WHERE id IN (
    SELECT id FROM {schema}.runs WHERE ready IS FALSE AND available_at <= $1::bigint
    ORDER BY available_at LIMIT 1000 FOR UPDATE SKIP LOCKED
);
