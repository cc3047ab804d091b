-- Facts that a commit in its own transaction needs of its run, which is locked.
SELECT status, worker, epoch, commits, cancel FROM {schema}.runs WHERE id = $1::uuid FOR UPDATE;
