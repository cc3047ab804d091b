//! A database with settings that all differ from what the store needs, and scenes in it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use surefoot::Store;
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;
use surefoot_store_tests::Scene;

/// A scene in a new schema of the database at `url`.
pub(crate) async fn scene(url: &str) -> Scene {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let clock = Scene::clock();
    let schema = format!("scene_{}", MADE.fetch_add(1, Ordering::Relaxed));
    // A disk may be slow.
    let options = PostgresStore::options(url)
        .schema(&schema)
        .clock(clock.clone())
        .operation_timeout(Duration::from_secs(30))
        .connect_timeout(Duration::from_secs(30));
    let store = options.clone().open().await;
    let build = move |format| {
        let options = options.clone().plan_format(format);
        async move {
            let store = options.open().await;
            Arc::new(store.expect("the store can be opened again")) as Arc<dyn Store>
        }
    };
    Scene::new(
        Arc::new(store.expect("a new store can be opened")),
        clock,
        (),
    )
    .with_builds(build)
}

/// Settings of the role or the database that would change the effect of statements.
const HOSTILE: &[(&str, &str)] = &[
    ("default_transaction_isolation", "'repeatable read'"),
    ("default_transaction_read_only", "on"),
    ("default_transaction_deferrable", "on"),
    ("synchronous_commit", "off"),
    ("lock_timeout", "'1ms'"),
    ("idle_in_transaction_session_timeout", "'1ms'"),
    ("search_path", "hostile, pg_catalog"),
    ("row_security", "on"),
    ("exit_on_error", "on"),
    ("client_encoding", "'LATIN1'"),
    ("standard_conforming_strings", "off"),
    ("transform_null_equals", "on"),
    ("array_nulls", "off"),
    ("plan_cache_mode", "force_custom_plan"),
    ("client_min_messages", "debug1"),
    ("bytea_output", "escape"),
    ("DateStyle", "'SQL, DMY'"),
    ("IntervalStyle", "sql_standard"),
    ("TimeZone", "'Asia/Kolkata'"),
];

/// Functions that a statement finds instead of the server's because of the search path.
const FUNCTIONS: &str = "
    CREATE SCHEMA hostile;
    CREATE FUNCTION hostile.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT timestamptz ''2001-01-01Z''';
    CREATE FUNCTION hostile.hashtextextended(text, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT random()::bigint * 99';
    CREATE FUNCTION hostile.pg_notify(text, text) RETURNS void LANGUAGE sql AS 'SELECT 1/0';
    GRANT USAGE ON SCHEMA hostile TO PUBLIC;";

/// Creates a hostile database of this name, with a statement timeout.
pub(crate) fn hostile_database(cluster: &ScratchPostgres, name: &str, statement_timeout: &str) {
    cluster
        .psql("postgres", &format!("CREATE DATABASE {name}"))
        .expect("a database");
    cluster.psql(name, FUNCTIONS).expect("functions");
    let timeout = [("statement_timeout", statement_timeout)];
    for (setting, value) in HOSTILE.iter().chain(&timeout) {
        let alter = format!("ALTER ROLE postgres IN DATABASE {name} SET {setting} = {value}");
        cluster.psql("postgres", &alter).expect("a setting");
    }
}
