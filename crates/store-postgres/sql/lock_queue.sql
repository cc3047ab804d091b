-- Rate of a queue, with its row locked.
SELECT rate_max, rate_per FROM {schema}.queues WHERE name = $1::text FOR UPDATE;
