SELECT id FROM {schema}.plans WHERE digest = $1::bytea;
