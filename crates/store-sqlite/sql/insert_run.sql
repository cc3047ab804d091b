INSERT INTO runs (id, plan, workflow, queue, parameters, key, uniq, priority, concurrency_key, created_at,
                  status, progress, error, started_at, completed_at, available_at, ready, worker, epoch, cancel,
                  event_seq, rate_at, requires, sealed)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24);
