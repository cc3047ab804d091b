SELECT id, name FROM workers;
