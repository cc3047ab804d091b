SELECT id, name FROM {schema}.workers WHERE id = $1::uuid FOR UPDATE;
