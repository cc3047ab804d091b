-- What a commit that is written by itself has to know of its run, locked.
SELECT status, worker, epoch, commits, cancel FROM {schema}.runs WHERE id = $1::uuid FOR UPDATE;
