-- The secret parameters of a run, encrypted: the identity of their key, a colon, and base64. In `parameters` they are replaced.
ALTER TABLE runs ADD COLUMN sealed TEXT;
