SELECT id, format, json FROM {schema}.plans WHERE id = ANY ($1::integer[]);
