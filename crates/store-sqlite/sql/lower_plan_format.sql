-- A newer build wrote this plan, and this one writes the same bytes: it needs no newer format than
-- this build's.
UPDATE plans SET format = ?2 WHERE id = ?1 AND format > ?2;
