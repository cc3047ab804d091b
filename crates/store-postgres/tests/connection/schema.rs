//! The schema: created once, by the first process, and refused if this build cannot work on it.

use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};
use tokio::task::JoinSet;

use crate::support::{database, options, refused};

fn psql(database: &str, statement: &str) -> String {
    ScratchPostgres::shared().psql(database, statement).unwrap()
}

async fn open_at_once(many: usize, url: &str) {
    let mut opening: JoinSet<_> = (0..many).map(|_| options(url).open()).collect();
    while let Some(opened) = opening.join_next().await {
        opened.unwrap().unwrap();
    }
}

#[tokio::test]
async fn of_many_concurrent_opens_one_creates_the_schema() {
    let (name, url) = database();
    open_at_once(8, &url).await;
    let versions = psql(
        &name,
        "SELECT count(*), max(version), min(length(sha256)) FROM surefoot.migrations",
    );
    let (count, rest) = versions.split_once('|').unwrap();
    assert_eq!(rest, format!("{count}|64"));
}

/// By default vacuum waits until a fifth of a table's rows have changed, which is too late for all
/// of these.
#[tokio::test]
async fn every_table_has_vacuum_settings() {
    let (name, url) = database();
    options(&url).open().await.unwrap();
    let without = "SELECT string_agg(relname, ', ') FROM pg_class
        WHERE relnamespace = 'surefoot'::regnamespace AND relkind = 'r'
          AND NOT coalesce(reloptions::text LIKE '%autovacuum_vacuum_scale_factor=%', false)";
    assert_eq!(psql(&name, without), "");
}

#[tokio::test]
async fn schemas_stand_side_by_side() {
    let (name, url) = database();
    for schema in ["one", "user", "_2"] {
        options(&url).schema(schema).open().await.unwrap();
    }
    assert_eq!(
        psql(
            &name,
            "SELECT count(*) FROM pg_tables WHERE tablename = 'runs'"
        ),
        "3"
    );
    assert!(
        refused(options(&url).schema("Big"))
            .await
            .contains("cannot be the store's schema")
    );
}

#[tokio::test]
async fn an_older_schema_is_refused_if_migration_is_disabled() {
    let (_, url) = database();
    let error = refused(options(&url).migrate(false)).await;
    assert!(
        error.contains("no store") && error.contains("surefoot migrate"),
        "{error}"
    );
    let done = options(&url).upgrade().await.unwrap();
    assert!(done.contains("from version 0"), "{done}");
    assert!(options(&url).upgrade().await.unwrap().contains("already"));
    options(&url).migrate(false).open().await.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_used_if_it_tolerates_us_and_else_refused() {
    let (name, url) = database();
    options(&url).open().await.unwrap();
    let newest: i32 = psql(&name, "SELECT max(version) FROM surefoot.migrations")
        .parse()
        .unwrap();
    let add = |version: i32, tolerates: i32| {
        let row = format!("({version}, 'later', {tolerates}, 'x')");
        psql(
            &name,
            &format!(
                "INSERT INTO surefoot.migrations (version, name, tolerates, sha256) VALUES {row}"
            ),
        )
    };
    add(newest + 1, newest);
    options(&url).open().await.unwrap();
    add(newest + 2, newest + 1);
    let error = refused(options(&url)).await;
    assert!(
        error.contains(&format!("version {}", newest + 2)) && error.contains("upgrade it"),
        "{error}"
    );
}

#[tokio::test]
async fn a_schema_of_another_build_is_refused() {
    let (name, url) = database();
    options(&url).open().await.unwrap();
    psql(
        &name,
        "UPDATE surefoot.migrations SET sha256 = repeat('0', 64) WHERE version = 1",
    );
    assert!(refused(options(&url)).await.contains("another build"));
}

#[tokio::test]
async fn a_role_without_create_rights_uses_an_existing_schema() {
    let (name, url) = database();
    let role = format!("role_{name}");
    psql(&name, &format!("CREATE ROLE {role} LOGIN"));
    let url = url.replace("postgres@", &format!("{role}@"));
    let error = refused(options(&url)).await;
    assert!(error.contains("permission denied"), "{error}");
    psql(
        &name,
        &format!("CREATE SCHEMA surefoot AUTHORIZATION {role}"),
    );
    options(&url).open().await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_utf8_is_refused() {
    let (name, url) = database();
    psql(
        "postgres",
        &format!("CREATE DATABASE ascii_{name} ENCODING 'SQL_ASCII' TEMPLATE template0 LOCALE 'C'"),
    );
    let error = refused(options(&url.replace(&name, &format!("ascii_{name}")))).await;
    assert!(error.contains("SQL_ASCII"), "{error}");
}

#[tokio::test]
async fn the_schema_is_made_through_a_pooler_too() {
    let (name, _) = database();
    let bouncer = ScratchBouncer::start(ScratchPostgres::shared(), 2).unwrap();
    open_at_once(4, &bouncer.url_of(&name)).await;
}
