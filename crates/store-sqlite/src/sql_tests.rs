//! Query plans of the statements: none scans a table that grows with the history.

use rusqlite::Connection;

use crate::sql;

fn schema() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("PRAGMA foreign_keys = OFF").unwrap();
    for migration in crate::migrate::all() {
        conn.execute_batch(migration).unwrap();
    }
    conn
}

fn explain(conn: &Connection, prefix: &str, statement: &str, column: usize) -> Vec<String> {
    let mut statement = conn.prepare(&format!("{prefix} {statement}")).unwrap();
    let nulls = vec![rusqlite::types::Null; statement.parameter_count()];
    let rows = statement
        .query_map(rusqlite::params_from_iter(nulls), |row| {
            row.get::<_, String>(column)
        })
        .unwrap();
    rows.map(Result::unwrap).collect()
}

/// SQLite's query plan.
fn plan(conn: &Connection, statement: &str) -> String {
    explain(conn, "EXPLAIN QUERY PLAN", statement, 3).join("; ")
}

#[test]
fn every_statement_is_valid_and_only_listings_scan_a_table() {
    let conn = schema();
    // Tables filled by people, which stay small, and the listing of all records, which reads all of
    // them.
    let allowed = [
        "SCAN workers",
        "SCAN queues",
        "SCAN plans",
        "SCAN records",
        "SCAN live",
        "SCAN CONSTANT ROW",
        "SCAN (subq",
        "SCAN json_each",
    ];
    for (name, statement) in sql::ALL {
        let plan = plan(&conn, statement);
        // Completed runs are counted in the table itself, up to a limit.
        let parts = plan
            .split("; ")
            .filter(|part| part.starts_with("SCAN") && name != &"count_runs");
        for part in parts {
            let partial = part.starts_with("SCAN runs USING") && part.contains("INDEX runs_")
                || part.contains("INDEX snapshot_blobs_pending");
            assert!(
                partial || allowed.iter().any(|allowed| part.starts_with(allowed)),
                "{name}: {plan}"
            );
        }
    }
}

#[test]
fn every_file_is_a_statement() {
    let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/sql"))
        .unwrap()
        .map(|file| {
            file.unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    files.sort();
    let mut known: Vec<&str> = sql::ALL.iter().map(|(name, _)| *name).collect();
    known.sort();
    assert_eq!(files, known);
}

#[test]
fn a_claim_reads_only_claimable_runs() {
    let conn = schema();
    let check = |statement: &str, expect: &str| {
        assert_eq!(plan(&conn, statement).split("; ").next(), Some(expect))
    };
    check(
        sql::CLAIM_FRESH,
        "SEARCH runs USING COVERING INDEX runs_fresh (queue=?)",
    );
    check(
        sql::CLAIM_RESUMED,
        "SEARCH runs USING COVERING INDEX runs_resumed (queue=?)",
    );
    check(
        sql::COUNT_RUNNING,
        "SEARCH runs USING COVERING INDEX runs_running (queue=?)",
    );
    check(
        sql::COUNT_RUNNING_OF_KEY,
        "SEARCH runs USING COVERING INDEX runs_running (queue=? AND concurrency_key=?)",
    );
    check(
        sql::IS_ANY_DUE,
        "SEARCH runs USING COVERING INDEX runs_due (available_at<?)",
    );
    check(
        sql::COUNT_STARTS,
        "SEARCH runs USING COVERING INDEX runs_rate (queue=? AND rate_at>? AND rate_at<?)",
    );
}

#[test]
fn a_listing_by_workflow_or_queue_comes_in_order() {
    let conn = schema();
    let check = |statement: &str, expect: &str| assert_eq!(plan(&conn, statement), expect);
    check(
        sql::LIST_RUNS_OF_WORKFLOW,
        "SEARCH runs USING INDEX runs_workflow (workflow=? AND id>? AND id<?)",
    );
    check(
        sql::LIST_FAILED_RUNS,
        "SEARCH runs USING INDEX runs_failed (completed_at>?); USE TEMP B-TREE FOR ORDER BY",
    );
    check(
        sql::LIST_RUNS_OF_QUEUE,
        "SEARCH runs USING INDEX runs_queue (queue=? AND id>? AND id<?)",
    );
}

#[test]
fn a_commit_finds_its_rows_by_their_keys() {
    let conn = schema();
    for statement in [sql::HELD_RUN, sql::ADVANCE_RUN, sql::UPDATE_RUN] {
        assert_eq!(
            plan(&conn, statement),
            "SEARCH runs USING PRIMARY KEY (id=?)"
        );
    }
    assert_eq!(
        plan(&conn, sql::UPDATE_STEP),
        "SEARCH steps USING PRIMARY KEY (run=? AND position=?)"
    );
}

/// SQLite fills a temporary table for `IN` and for some updates: too expensive for writes at each
/// step.
#[test]
fn frequent_writes_need_no_temporary_table() {
    let conn = schema();
    for statement in [
        sql::INSERT_RUN,
        sql::INSERT_STEP,
        sql::INSERT_EVENTS,
        sql::HELD_RUN,
        sql::ADVANCE_RUN,
        sql::UPDATE_RUN,
        sql::UPDATE_STEP,
        sql::IS_ANY_DUE,
        sql::HAS_EARLIER_RUN,
    ] {
        let program = explain(&conn, "EXPLAIN", statement, 1);
        assert!(
            !program.iter().any(|code| code == "OpenEphemeral"),
            "{statement}"
        );
    }
}
