INSERT INTO plans (digest, workflow, queue, json) VALUES (?1, ?2, ?3, ?4) RETURNING id;
