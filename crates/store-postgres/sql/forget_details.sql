UPDATE {schema}.runs SET details = false WHERE id = ANY ($1::uuid[]);
