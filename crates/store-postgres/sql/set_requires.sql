-- Changes what a run requires of a worker; its row is locked.
UPDATE {schema}.runs SET requires = $2::text[] WHERE id = $1::uuid;
