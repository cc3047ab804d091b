DELETE FROM {schema}.records WHERE kind = $1::text AND name = $2::text AND run = $3::uuid;
