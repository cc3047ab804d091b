//! Migrates a schema to this build's version, and refuses a schema that this build cannot work on.
//!
//! Each migration is a numbered `.sql` file. It states the oldest version whose builds can still
//! work on it (`tolerates`), so that workers of two versions run side by side during a deploy: an
//! older worker refuses a schema only if a migration unknown to it no longer tolerates its version.
//! Such a migration is never run while such a worker lives.

use surefoot::{Digest, StoreError};
use tokio_postgres::{Client, GenericClient, SimpleQueryMessage};

use super::error::store_error;
use super::session::Session;
use super::sql;

#[derive(Clone)]
struct Migration {
    version: i32,
    name: &'static str,
    /// Oldest schema version whose builds can still work after this migration.
    tolerates: i32,
    sql: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "first",
        tolerates: 1,
        sql: include_str!("../../migrations/0001_first.sql"),
    },
    // Tables and functions that older workers ignore.
    Migration {
        version: 2,
        name: "submit",
        tolerates: 1,
        sql: include_str!("../../migrations/0002_submit.sql"),
    },
    // A column that older workers leave unchanged.
    Migration {
        version: 3,
        name: "deferrals",
        tolerates: 1,
        sql: include_str!("../../migrations/0003_deferrals.sql"),
    },
    // Settings of the functions of 2.
    Migration {
        version: 4,
        name: "submit settings",
        tolerates: 1,
        sql: include_str!("../../migrations/0004_submit_settings.sql"),
    },
    // Older workers would claim runs that require something they do not offer.
    Migration {
        version: 5,
        name: "requirements",
        tolerates: 5,
        sql: include_str!("../../migrations/0005_requirements.sql"),
    },
    // Older workers cannot read an undo that is `kept`.
    Migration {
        version: 6,
        name: "undo_notes",
        tolerates: 6,
        sql: include_str!("../../migrations/0006_undo_notes.sql"),
    },
    // A column of runs that older workers never claim, because they offer no key.
    Migration {
        version: 7,
        name: "secrets",
        tolerates: 6,
        sql: include_str!("../../migrations/0007_secrets.sql"),
    },
    // A function of 2 refuses more.
    Migration {
        version: 8,
        name: "keys",
        tolerates: 6,
        sql: include_str!("../../migrations/0008_keys.sql"),
    },
    // Older workers ignore the format.
    Migration {
        version: 9,
        name: "plan format",
        tolerates: 6,
        sql: include_str!("../../migrations/0009_plan_format.sql"),
    },
    // Columns that older workers leave unchanged: they run isolated steps beside others.
    Migration {
        version: 10,
        name: "isolation",
        tolerates: 6,
        sql: include_str!("../../migrations/0010_isolation.sql"),
    },
    // The same function, in the expressions of this build.
    Migration {
        version: 11,
        name: "boolean texts",
        tolerates: 6,
        sql: include_str!("../../migrations/0011_boolean_texts.sql"),
    },
    // Older workers cannot restore a file that is kept in chunks.
    Migration {
        version: 12,
        name: "uploads",
        tolerates: 12,
        sql: include_str!("../../migrations/0012_uploads.sql"),
    },
    // Columns that older workers leave as they are: they submit and take what the lists refuse.
    Migration {
        version: 13,
        name: "allow lists",
        tolerates: 12,
        sql: include_str!("../../migrations/0013_allow_lists.sql"),
    },
    // A column that older workers leave at 1, which is what they read.
    Migration {
        version: 14,
        name: "plan format of workers",
        tolerates: 12,
        sql: include_str!("../../migrations/0014_worker_plan_format.sql"),
    },
];

/// Schema version of this build.
pub(crate) const KNOWN: i32 = MIGRATIONS.len() as i32;

/// State of a schema.
#[derive(Debug, Default)]
struct Found {
    /// Number of its last migration; 0 if there is none.
    version: i32,
    /// Oldest version whose builds can work on it.
    tolerates: i32,
    sums: Vec<String>,
}

/// Checks `schema` without changing it. Returns the warnings for people if this build can work on
/// it, and `None` if migrations are missing and may be run.
pub(crate) async fn inspect(
    session: &Session,
    schema: &str,
    automatic: bool,
) -> Result<Option<String>, StoreError> {
    check_server(&**session).await?;
    let found = look(&**session, schema).await?;
    check(&found, schema, MIGRATIONS)?;
    if found.version >= KNOWN {
        return Ok(Some(format!(
            "the schema {schema} is at version {} already",
            found.version
        )));
    }
    if !automatic && found.version == 0 {
        return Err(StoreError::Unusable(format!(
            "there is no store in the schema {schema}: `surefoot migrate` creates one"
        )));
    }
    if !automatic {
        return Err(StoreError::Unusable(format!(
            "the schema {schema} is at version {} and this surefoot needs {KNOWN}: run `surefoot migrate`",
            found.version
        )));
    }
    Ok(None)
}

/// Runs the missing migrations of `schema`. Returns a summary for people.
pub(crate) async fn run_missing(session: &Session, schema: &str) -> Result<String, StoreError> {
    run_missing_of(MIGRATIONS, session, schema).await
}

/// In one transaction, and one process at a time: the second finds it migrated. A future dropped
/// halfway leaves the session in the transaction, so the session must be dropped too.
async fn run_missing_of(
    all: &[Migration],
    session: &Session,
    schema: &str,
) -> Result<String, StoreError> {
    let client: &Client = session;
    run(client, &session.begin()).await?;
    let migrated = migrate(all, client, schema).await;
    run(
        client,
        if migrated.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        },
    )
    .await?;
    let from = migrated?;
    Ok(format!(
        "the schema {schema} went from version {from} to {}",
        newest(all)
    ))
}

/// Returns the previous version.
async fn migrate(all: &[Migration], client: &Client, schema: &str) -> Result<i32, StoreError> {
    let lock =
        format!("SELECT pg_advisory_xact_lock(hashtextextended('surefoot migrate {schema}', 0))");
    run(client, &lock).await?;
    let found = look(client, schema).await?;
    check(&found, schema, all)?;
    let missing = all
        .iter()
        .filter(|migration| migration.version > found.version);
    if found.version == 0 {
        make_schema(client, schema).await?;
    } else if missing
        .clone()
        .any(|migration| migration.tolerates > found.version)
    {
        end_workers(client, schema, &found, newest(all)).await?;
    }
    for migration in missing {
        run(client, &sql(migration.sql, schema)).await?;
        run(client, &migration.note(schema)).await?;
    }
    Ok(found.version)
}

fn newest(all: &[Migration]) -> i32 {
    all.last().map_or(0, |migration| migration.version)
}

/// The schema may exist already: a role with the right may have created it for this one.
async fn make_schema(client: &(impl GenericClient + Sync), schema: &str) -> Result<(), StoreError> {
    let there =
        format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = '{schema}')");
    if ask(client, &there).await?.as_deref() != Some("t") {
        run(client, &sql("CREATE SCHEMA {schema}", schema)).await?;
    }
    run(client, &sql(MIGRATIONS_TABLE, schema)).await
}

const MIGRATIONS_TABLE: &str = "CREATE TABLE {schema}.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    -- The oldest version whose builds can work on the schema from this migration on.
    tolerates integer NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (autovacuum_vacuum_threshold = 50, autovacuum_vacuum_scale_factor = 0);";

fn check_version(number: &str, version: &str) -> Result<(), StoreError> {
    match number.parse::<u32>() {
        Ok(..130_000) => Err(StoreError::Unusable(format!(
            "the database is PostgreSQL {version}: 13 or later is needed"
        ))),
        _ => Ok(()),
    }
}

/// The statements need PostgreSQL 13 and UTF-8 texts.
async fn check_server(client: &(impl GenericClient + Sync)) -> Result<(), StoreError> {
    let number = ask(client, "SHOW server_version_num").await?;
    let version = ask(client, "SHOW server_version").await?;
    check_version(
        number.as_deref().unwrap_or_default(),
        version.as_deref().unwrap_or_default(),
    )?;
    match ask(client, "SHOW server_encoding").await?.as_deref() {
        None | Some("UTF8") => Ok(()),
        Some(encoding) => Err(StoreError::Unusable(format!(
            "the database's encoding is {encoding}: make one with CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        ))),
    }
}

/// Live older workers would fail in the middle of their work. No worker can register before this
/// commits, and one that registers afterwards reads what the schema tolerates. A worker whose lease
/// has expired may only be frozen: it is refused when it wakes.
async fn end_workers(
    client: &(impl GenericClient + Sync),
    schema: &str,
    found: &Found,
    newest: i32,
) -> Result<(), StoreError> {
    run(
        client,
        &sql(
            "LOCK TABLE {schema}.workers IN SHARE ROW EXCLUSIVE MODE",
            schema,
        ),
    )
    .await?;
    let living = sql(
        "SELECT string_agg(name || ' (' || version || ')', ', ' ORDER BY name) FROM {schema}.workers
         WHERE expires_at > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint",
        schema,
    );
    match ask(client, &living).await? {
        None => run(client, &sql("DELETE FROM {schema}.workers", schema)).await,
        Some(names) => Err(StoreError::Unusable(format!(
            "the schema {schema} is at version {}, and workers live that would break if it was brought to {newest}: \
             stop them first: {names}",
            found.version
        ))),
    }
}

/// Reads the state of a schema. Simple queries, because this must work through a pooler and in a
/// transaction.
async fn look(client: &(impl GenericClient + Sync), schema: &str) -> Result<Found, StoreError> {
    // Not `to_regclass`: a transaction that waited for the lock would still see no table.
    let there = format!(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_tables WHERE schemaname = '{schema}' AND tablename = 'migrations')"
    );
    if ask(client, &there).await?.as_deref() != Some("t") {
        return Ok(Found::default());
    }
    let list = sql(
        "SELECT version, tolerates, sha256 FROM {schema}.migrations ORDER BY version",
        schema,
    );
    let mut found = Found::default();
    for message in client
        .simple_query(&list)
        .await
        .map_err(|error| store_error(&error))?
    {
        let SimpleQueryMessage::Row(row) = message else {
            continue;
        };
        let number = |index| {
            row.get(index)
                .and_then(|text| text.parse::<i32>().ok())
                .unwrap_or(0)
        };
        found.version = number(0);
        found.tolerates = found.tolerates.max(number(1));
        found.sums.push(row.get(2).unwrap_or_default().to_owned());
    }
    Ok(found)
}

async fn run(client: &(impl GenericClient + Sync), statements: &str) -> Result<(), StoreError> {
    client
        .batch_execute(statements)
        .await
        .map_err(|error| store_error(&error))
}

/// First column of the first row; `None` if there is no row, or if it is null.
async fn ask(
    client: &(impl GenericClient + Sync),
    query: &str,
) -> Result<Option<String>, StoreError> {
    let messages = client
        .simple_query(query)
        .await
        .map_err(|error| store_error(&error))?;
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
        _ => None,
    }))
}

fn check(found: &Found, schema: &str, all: &[Migration]) -> Result<(), StoreError> {
    let known = newest(all);
    if found.version > known && found.tolerates > known {
        return Err(StoreError::Unusable(format!(
            "the schema {schema} is at version {} and no longer works with this surefoot, which knows {known}: upgrade it",
            found.version
        )));
    }
    let same = |(migration, sum): (&Migration, &String)| migration.sum().to_string() == *sum;
    if all.iter().zip(&found.sums).all(same) {
        return Ok(());
    }
    let message = format!(
        "the schema {schema} was made by another build of surefoot than this one: use that build, or another schema"
    );
    Err(StoreError::Unusable(message))
}

impl Migration {
    fn sum(&self) -> Digest {
        Digest::of(self.sql.as_bytes())
    }

    /// The statement that records that it has run.
    fn note(&self, schema: &str) -> String {
        let Self {
            version,
            name,
            tolerates,
            ..
        } = self;
        let note = format!(
            "INSERT INTO {{schema}}.migrations (version, name, tolerates, sha256) \
             VALUES ({version}, '{name}', {tolerates}, '{}')",
            self.sum()
        );
        sql(&note, schema)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use surefoot::store::NewWorker;
    use surefoot::{AllowList, Store, WorkerId};
    use surefoot_scratch_postgres::ScratchPostgres;

    use super::*;
    use crate::connect::PostgresOptions;

    fn worker(name: &str, lease: Duration) -> NewWorker {
        let name = name.to_owned();
        let version = "1.0".to_owned();
        NewWorker {
            id: WorkerId::new(),
            name,
            lease,
            version,
            actions: Arc::default(),
            workflows: AllowList::default(),
            resources: Arc::default(),
        }
    }

    /// A migration that would break this build's workers waits for the live ones. A frozen worker
    /// whose lease has expired is fenced off: it wakes to a schema on which it must not work.
    #[tokio::test]
    async fn a_migration_that_tolerates_no_older_worker_is_run_under_none() {
        let url = ScratchPostgres::shared().fresh_database().unwrap();
        let store = PostgresOptions::of(&url).open().await.unwrap();
        let sql = "ALTER TABLE {schema}.runs ADD COLUMN later integer";
        let later = Migration {
            version: KNOWN + 1,
            name: "later",
            tolerates: KNOWN + 1,
            sql,
        };
        let all: Vec<Migration> = MIGRATIONS.iter().cloned().chain([later]).collect();
        let session = PostgresOptions::of(&url)
            .connector()
            .unwrap()
            .connect()
            .await
            .unwrap();

        let lives = worker("lives", Duration::from_secs(600));
        let frozen = worker("frozen", Duration::ZERO);
        store.register_worker(lives.clone()).await.unwrap();
        store.register_worker(frozen.clone()).await.unwrap();
        let error = run_missing_of(&all, &session, "surefoot")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("stop them first: lives (1.0)"), "{error}");
        store.deregister_worker(lives.id).await.unwrap();
        let done = run_missing_of(&all, &session, "surefoot").await.unwrap();
        assert!(done.contains(&format!("to {}", KNOWN + 1)), "{done}");

        assert!(matches!(
            store.heartbeat(frozen.id).await,
            Err(StoreError::LeaseLost)
        ));
        let error = store
            .register_worker(worker("again", Duration::from_secs(5)))
            .await
            .unwrap_err();
        assert!(
            matches!(&error, StoreError::Unusable(why) if why.contains("upgrade it")),
            "{error}"
        );
    }

    #[test]
    fn a_server_that_is_too_old_is_refused() {
        let error = check_version("120022", "12.22").unwrap_err().to_string();
        assert_eq!(
            error,
            "the database is PostgreSQL 12.22: 13 or later is needed"
        );
        assert!(check_version("130000", "13.0").is_ok() && check_version("", "").is_ok());
    }

    #[test]
    fn an_older_worker_goes_on_as_long_as_it_is_tolerated() {
        let newer = |tolerates| Found {
            version: KNOWN + 1,
            tolerates,
            sums: Vec::new(),
        };
        assert!(check(&newer(KNOWN), "s", MIGRATIONS).is_ok());
        let refused = check(&newer(KNOWN + 1), "s", MIGRATIONS)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("upgrade it"), "{refused}");
    }

    #[test]
    fn a_schema_of_another_build_is_refused() {
        let found = Found {
            version: 1,
            tolerates: 1,
            sums: vec!["00".to_owned()],
        };
        assert!(
            check(&found, "s", MIGRATIONS)
                .unwrap_err()
                .to_string()
                .contains("another build")
        );
    }

    #[test]
    fn migrations_are_numbered_and_tolerate_what_came_before() {
        for (index, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, index + 1, "{}", migration.name);
            assert!(
                (1..=migration.version).contains(&migration.tolerates),
                "{}",
                migration.name
            );
        }
    }
}
