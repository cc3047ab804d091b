SELECT id, name FROM workers WHERE expires_at <= ?1;
