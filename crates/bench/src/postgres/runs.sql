-- First commit: a hundred runs, their steps with the first of them running, the first events.
BEGIN;
INSERT INTO raw.runs (id, plan, workflow, queue, parameters, priority, created_at, status, progress, started_at, worker, epoch, event_seq)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 1, 'raw', 'raw', '{"at":1234567890123456}', 0, 1, 'running', 0, 1, '00000000-0000-0000-0000-000000000001', 1, 3 FROM generate_series(1, 100) AS n;
INSERT INTO raw.steps (run, position, id, status, attempt, started_at)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, s, 'step_' || s, CASE s WHEN 0 THEN 'running' ELSE 'pending' END, CASE s WHEN 0 THEN 1 ELSE 0 END, CASE s WHEN 0 THEN 1 END FROM generate_series(1, 100) AS n, generate_series(0, 6) AS s;
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 3, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
-- Step 1 ends and the next begins.
BEGIN;
UPDATE raw.runs SET progress = 14, event_seq = 5 FROM generate_series(1, 100) AS n WHERE id = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid;
UPDATE raw.steps SET status = CASE position WHEN 0 THEN 'completed' ELSE 'running' END, attempt = 1, started_at = 1, completed_at = CASE position WHEN 0 THEN 2 END FROM generate_series(1, 100) AS n WHERE run = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid AND position IN (0, 1);
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 5, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
-- Step 2 ends and the next begins.
BEGIN;
UPDATE raw.runs SET progress = 28, event_seq = 7 FROM generate_series(1, 100) AS n WHERE id = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid;
UPDATE raw.steps SET status = CASE position WHEN 1 THEN 'completed' ELSE 'running' END, attempt = 1, started_at = 1, completed_at = CASE position WHEN 1 THEN 2 END FROM generate_series(1, 100) AS n WHERE run = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid AND position IN (1, 2);
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 7, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
-- Step 3 ends and the next begins.
BEGIN;
UPDATE raw.runs SET progress = 42, event_seq = 9 FROM generate_series(1, 100) AS n WHERE id = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid;
UPDATE raw.steps SET status = CASE position WHEN 2 THEN 'completed' ELSE 'running' END, attempt = 1, started_at = 1, completed_at = CASE position WHEN 2 THEN 2 END FROM generate_series(1, 100) AS n WHERE run = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid AND position IN (2, 3);
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 9, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
-- Step 4 ends and the next begins.
BEGIN;
UPDATE raw.runs SET progress = 56, event_seq = 11 FROM generate_series(1, 100) AS n WHERE id = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid;
UPDATE raw.steps SET status = CASE position WHEN 3 THEN 'completed' ELSE 'running' END, attempt = 1, started_at = 1, completed_at = CASE position WHEN 3 THEN 2 END FROM generate_series(1, 100) AS n WHERE run = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid AND position IN (3, 4);
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 11, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
-- Step 5 ends and the next begins.
BEGIN;
UPDATE raw.runs SET progress = 70, event_seq = 13 FROM generate_series(1, 100) AS n WHERE id = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid;
UPDATE raw.steps SET status = CASE position WHEN 4 THEN 'completed' ELSE 'running' END, attempt = 1, started_at = 1, completed_at = CASE position WHEN 4 THEN 2 END FROM generate_series(1, 100) AS n WHERE run = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid AND position IN (4, 5);
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 13, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
-- Step 6 ends and the next begins.
BEGIN;
UPDATE raw.runs SET progress = 84, event_seq = 15 FROM generate_series(1, 100) AS n WHERE id = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid;
UPDATE raw.steps SET status = CASE position WHEN 5 THEN 'completed' ELSE 'running' END, attempt = 1, started_at = 1, completed_at = CASE position WHEN 5 THEN 2 END FROM generate_series(1, 100) AS n WHERE run = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid AND position IN (5, 6);
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 15, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
-- Step 7 ends, and the run with it.
BEGIN;
UPDATE raw.runs SET status = 'completed', progress = 100, worker = NULL, completed_at = 2, event_seq = 17 FROM generate_series(1, 100) AS n WHERE id = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid;
UPDATE raw.steps SET status = 'completed', completed_at = 2 FROM generate_series(1, 100) AS n WHERE run = (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid AND position = 6;
INSERT INTO raw.events (run, seq, at, body)
SELECT (lpad(to_hex(:n::int), 10, '0') || lpad(to_hex(n), 22, '0'))::uuid, 17, 1, '[["step.completed","step_1",null],["step.started","step_2",{"attempt":1}]]' FROM generate_series(1, 100) AS n;
COMMIT;
