//! Errors of a real server.

use surefoot::StoreError;
use surefoot_scratch_postgres::ScratchPostgres;

use super::super::address::Address;
use super::super::session::{Connector, Session};
use super::store_error;

async fn session() -> Session {
    connect(&ScratchPostgres::shared().url()).await.unwrap()
}

async fn connect(url: &str) -> Result<Session, StoreError> {
    Connector::new(
        Address::parse(url)?,
        "surefoot",
        std::time::Duration::from_secs(5),
    )?
    .connect()
    .await
}

/// Executes statements and returns their error.
async fn error_of(session: &Session, statements: &str) -> StoreError {
    store_error(&session.batch_execute(statements).await.unwrap_err())
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Unusable(_) => "unusable",
        StoreError::Fault(_) => "fault",
        _ => "other",
    }
}

#[tokio::test]
async fn transient_errors_configuration_errors_and_bugs_are_distinguished() {
    let session = session().await;
    let check = async |statements: &str, expect: &str, words: &str| {
        let error = error_of(&session, statements).await;
        assert_eq!(kind(&error), expect, "{statements}: {error}");
        assert!(error.to_string().contains(words), "{statements}: {error}");
        session.batch_execute("ROLLBACK").await.unwrap();
    };
    check(
        "BEGIN; SET LOCAL statement_timeout = 50; SELECT pg_sleep(5)",
        "unavailable",
        "statement timeout",
    )
    .await;
    check(
        "BEGIN READ ONLY; CREATE TABLE x ()",
        "unavailable",
        "primary",
    )
    .await;
    check("SELECT * FROM nowhere.runs", "unusable", "nowhere.runs").await;
    check("SELECT no_such_function()", "unusable", "no_such_function").await;
    check("SELECT 1/0", "fault", "division by zero (22012)").await;
    check("SELEC", "fault", "syntax error").await;
    // Errors that are hard to provoke are raised by the server with their code.
    for (code, expect) in [
        ("08P01", "unavailable"),
        ("25P03", "unavailable"),
        ("25P04", "unavailable"),
        ("26000", "unavailable"),
        ("40001", "unavailable"),
        ("40P01", "unavailable"),
        ("53100", "unavailable"),
        ("53200", "unavailable"),
        ("53300", "unavailable"),
        ("54001", "unavailable"),
        ("55000", "unavailable"),
        ("55006", "unavailable"),
        ("55P03", "unavailable"),
        ("57014", "unavailable"),
        ("57P01", "unavailable"),
        ("57P03", "unavailable"),
        ("58030", "unavailable"),
        ("72000", "unavailable"),
        ("XX000", "unavailable"),
        ("XX001", "unavailable"),
        ("42501", "unusable"),
        ("42P01", "unusable"),
        ("0A000", "unavailable"),
        ("22023", "fault"),
        ("23505", "fault"),
        ("42601", "fault"),
        ("54011", "fault"),
        ("P0001", "fault"),
    ] {
        check(
            &format!("DO $$ BEGIN RAISE 'so it is' USING ERRCODE = '{code}'; END $$"),
            expect,
            "so it is",
        )
        .await;
    }
}

#[tokio::test]
async fn ended_and_rejected_sessions_are_transient_errors() {
    let cluster = ScratchPostgres::start().unwrap();
    let psql = |statement: &str| cluster.psql("postgres", statement).unwrap();
    let session = connect(&cluster.url()).await.unwrap();
    assert_eq!(
        kind(&error_of(&session, "SELECT pg_terminate_backend(pg_backend_pid())").await),
        "unavailable"
    );
    assert_eq!(kind(&error_of(&session, "SELECT 1").await), "unavailable");

    psql("CREATE ROLE one_only LOGIN CONNECTION LIMIT 1");
    let url = cluster.url_with("postgres", "one_only", None);
    let _first = connect(&url).await.unwrap();
    let error = connect(&url).await.unwrap_err();
    assert!(
        kind(&error) == "unavailable" && error.to_string().contains("connection left"),
        "{error}"
    );

    psql("CREATE DATABASE closed ALLOW_CONNECTIONS false");
    let error = connect(&cluster.url_of("closed")).await.unwrap_err();
    assert!(
        kind(&error) == "unavailable" && error.to_string().contains("not currently accepting"),
        "{error}"
    );

    let error = connect(&cluster.url_of("nowhere")).await.unwrap_err();
    assert!(
        kind(&error) == "unusable" && error.to_string().contains("\"nowhere\" does not exist"),
        "{error}"
    );

    cluster.refuse().unwrap();
    let error = connect(&cluster.url()).await.unwrap_err();
    assert!(
        kind(&error) == "unavailable" && error.to_string().contains("let us in"),
        "{error}"
    );
}
