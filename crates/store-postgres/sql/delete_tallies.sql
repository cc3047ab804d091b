DELETE FROM {schema}.tallies WHERE span = 3600 AND at < $1::bigint;
