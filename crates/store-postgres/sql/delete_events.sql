DELETE FROM {schema}.events WHERE run = ANY ($1::uuid[]);
