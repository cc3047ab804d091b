INSERT INTO plans (digest, workflow, queue, json, format) VALUES (?1, ?2, ?3, ?4, ?5) RETURNING id;
