-- An undo may keep what a step made, and says why; the answer to an interruption is kept apart from an approval.
ALTER TABLE {schema}.steps
    -- A person's answer to the last interruption.
    ADD COLUMN decision text,
    -- What the undo removed, or what it kept and why.
    ADD COLUMN undo_note text,
    DROP CONSTRAINT steps_undo_check,
    ADD CONSTRAINT steps_undo_check CHECK (undo IN ('running', 'interrupted', 'done', 'kept', 'failed')),
    ADD CONSTRAINT note_of_an_ended_undo CHECK (undo_note IS NULL OR undo IS NOT NULL AND undo IN ('done', 'kept'));
