-- The workers whose lease has run out, but for those that another process is burying just now.
SELECT id, name FROM {schema}.workers WHERE expires_at <= $1::bigint ORDER BY id FOR UPDATE SKIP LOCKED;
