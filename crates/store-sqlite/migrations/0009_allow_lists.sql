-- Allow-lists: the workflows and actions that a queue permits, and the workflows that a worker
-- permits. Each is a JSON array of entries; null permits everything.
ALTER TABLE queues ADD COLUMN workflows TEXT;
ALTER TABLE queues ADD COLUMN actions TEXT;
ALTER TABLE workers ADD COLUMN workflows TEXT;
