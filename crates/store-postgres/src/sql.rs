//! The statements, one file each under `sql/`, prepared for one schema.

use crate::connect::sql;

macro_rules! statements {
    ($($name:ident,)+) => {
        /// Every statement, by the name of its file.
        #[derive(Debug)]
        pub(crate) struct Statements {
            $(pub(crate) $name: String,)+
        }

        impl Statements {
            /// Statements for the store in `schema`.
            pub(crate) fn of(schema: &str) -> Self {
                Self { $($name: sql(&bare(include_str!(concat!("../sql/", stringify!($name), ".sql"))), schema),)+ }
            }
        }
    };
}

statements! {
    add_tallies,
    admit,
    blob_part,
    claim_cancelling,
    claim_fresh,
    claim_resumed,
    count_held_back_runs,
    count_in_flight,
    count_running_of_keys,
    count_running_runs,
    count_runs,
    count_runs_with_text,
    count_failed_or_cancelled_runs,
    delete_document,
    delete_events,
    delete_expired_documents,
    delete_orphan_blobs,
    delete_pending_blobs,
    delete_snapshot_blobs,
    delete_tallies,
    delete_workers,
    document,
    documents,
    documents_descending,
    events,
    forget_details,
    forget_starts,
    heartbeat,
    heartbeats,
    held_run,
    insert_blobs,
    insert_snapshot_blobs,
    insert_worker,
    known_blobs,
    list_failed_runs,
    list_held_back_runs,
    list_running_runs,
    list_runs,
    list_runs_of_queue,
    list_runs_of_workflow,
    list_runs_with_key,
    list_runs_scanning_for_text,
    list_runs_with_text,
    list_failed_or_cancelled_runs,
    lock_keys,
    lock_queue,
    lock_queues,
    lock_run,
    lock_runs_of_unknown_workers,
    lock_runs_of_workers,
    lock_silent_workers,
    lock_worker,
    claim_overview,
    now,
    old_by_age,
    old_by_count,
    pause_queue,
    plan,
    lower_plan_format,
    plan_id,
    promote_due,
    publish,
    put_blobs,
    put_document,
    put_plan,
    put_record,
    queue_counts,
    queues,
    recall_starts,
    record_owners,
    records,
    remove_record,
    roll_tallies,
    run,
    set_queue,
    set_requires,
    steps,
    transaction,
    is_over,
    start_run,
    submit_runs,
    tallies,
    written_commits,
    unfinished_uploads,
    worker_exists,
    workers,
    write_runs,
}

/// Strips comments and layout from a statement, which is sent each time it is used.
fn bare(text: &str) -> String {
    let lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("--"));
    let bare = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    bare.trim_end_matches(';').to_owned()
}
