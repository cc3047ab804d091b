SELECT 1 FROM {schema}.workers WHERE id = $1::uuid;
