INSERT INTO steps (run, position, id, status) VALUES (?1, ?2, ?3, 'pending');
