//! The database enforces the state machine too: a row that the rules could not have produced is
//! refused.

use crate::support::{draft, new_store, queued, raw, register, started};
use surefoot::Store;

/// Asserts that a statement is refused by the constraint, or the column's check, that `expect`
/// names.
#[track_caller]
fn refused(conn: &rusqlite::Connection, statement: &str, expect: &str) {
    let error = conn
        .execute(statement, [])
        .expect_err(statement)
        .to_string();
    assert!(
        error.contains("CHECK constraint failed") && error.contains(expect),
        "{statement}: {error}"
    );
}

#[tokio::test]
async fn a_run_that_contradicts_itself_is_refused() {
    let (_folder, path, store) = new_store();
    let worker = register(&store, "w").await;
    store.submit(queued(&store, &draft(&store))).await.unwrap();
    let conn = raw(&path);
    let check = |set: &str, expect| refused(&conn, &format!("UPDATE runs SET {set}"), expect);
    check("status = 'resting'", "status = 'queued'");
    check("progress = 101", "progress BETWEEN");
    check("cancel = 'maybe'", "cancel = 'cancel'");
    check(
        "status = 'running', available_at = NULL, ready = NULL",
        "running_has_worker",
    );
    check("worker = zeroblob(16)", "running_has_worker");
    check(
        "status = 'running', worker = zeroblob(16), available_at = NULL, ready = NULL",
        "running_is_under_a_lease",
    );
    check("completed_at = 1", "ended_has_completed_at");
    check(
        "status = 'completed', available_at = NULL, ready = NULL",
        "ended_has_completed_at",
    );
    check(
        "status = 'failed', completed_at = 1",
        "available_when_waiting",
    );
    check(
        "available_at = NULL, ready = NULL",
        "available_when_waiting",
    );
    check("ready = NULL", "ready_with_available_at");
    check("ready = 2", "ready = 0");
    // A row that the rules do produce is accepted.
    conn.execute(
        "UPDATE runs SET status = 'waiting', available_at = NULL, ready = NULL",
        [],
    )
    .unwrap();
    drop(conn);
    store
        .submit(started(&store, &draft(&store), worker))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_step_that_contradicts_itself_is_refused() {
    let (_folder, path, store) = new_store();
    store.submit(queued(&store, &draft(&store))).await.unwrap();
    let conn = raw(&path);
    let check = |set: &str, expect| refused(&conn, &format!("UPDATE steps SET {set}"), expect);
    check("status = 'resting'", "status = 'pending'");
    check("status = 'waiting'", "waiting_has_wait");
    check("wait = 'retry'", "waiting_has_wait");
    check("status = 'waiting', wait = 'godot'", "wait = 'retry'");
    check("status = 'running'", "running_has_begun");
    check("status = 'completed'", "ended_has_completed_at");
    check("completed_at = 1", "ended_has_completed_at");
    check("undo = 'perhaps'", "undo = 'running'");
    check("progress = -1", "progress BETWEEN");
    check("snapshot = x'00'", "length(snapshot)");
    conn.execute("UPDATE steps SET status = 'skipped', completed_at = 1", [])
        .unwrap();
}
