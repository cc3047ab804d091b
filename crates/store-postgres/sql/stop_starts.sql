-- Nobody starts a run between the look at those that started and the new limit: what started before it and is not yet
-- committed would not be counted.
LOCK TABLE {schema}.runs IN SHARE ROW EXCLUSIVE MODE;
