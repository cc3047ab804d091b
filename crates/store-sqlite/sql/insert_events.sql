INSERT INTO events (run, seq, at, body) VALUES (?1, ?2, ?3, ?4);
