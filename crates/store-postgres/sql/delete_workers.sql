DELETE FROM {schema}.workers WHERE id = ANY ($1::uuid[]);
