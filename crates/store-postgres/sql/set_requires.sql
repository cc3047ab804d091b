-- Changes the requirements of a run; its row is locked.
UPDATE {schema}.runs SET requires = $2::text[] WHERE id = $1::uuid;
