SELECT id, format FROM {schema}.plans WHERE digest = $1::bytea;
