-- Runs whose time has come may be taken. A row that another process has locked is left to it.
UPDATE {schema}.runs SET ready = true WHERE id IN (
    SELECT id FROM {schema}.runs WHERE ready IS FALSE AND available_at <= $1::bigint
    ORDER BY available_at LIMIT 1000 FOR UPDATE SKIP LOCKED
);
