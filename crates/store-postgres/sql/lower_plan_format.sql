-- A newer build wrote this plan, and this one writes the same bytes: it needs no newer format than
-- this build's.
UPDATE {schema}.plans SET format = $2::integer WHERE id = $1::integer AND format > $2;
