//! Settings of the role and the database: overridden where a session can, refused or reported where
//! it cannot.

use std::sync::Arc;

use surefoot::store::RunFilter;
use surefoot::{Client, Store, StoreError};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};
use tokio::task::JoinSet;

use crate::support::{database, ended, open, options, refused, two_steps, worker};

fn psql(database: &str, statement: &str) -> String {
    ScratchPostgres::shared().psql(database, statement).unwrap()
}

/// A database whose role has this setting, and its URL.
fn database_with(setting: &str) -> String {
    let (name, url) = database();
    psql(
        "postgres",
        &format!("ALTER ROLE postgres IN DATABASE {name} SET {setting}"),
    );
    url
}

#[tokio::test]
async fn a_role_without_constraints_is_refused() {
    let error = refused(options(&database_with(
        "session_replication_role = replica",
    )))
    .await;
    assert!(
        error.contains("ALTER ROLE") && error.contains("session_replication_role is replica"),
        "{error}"
    );
}

#[tokio::test]
async fn a_setting_that_weakens_a_promise_is_reported() {
    let store = open(&database_with("synchronous_commit = off")).await;
    let [warning] = store.warnings() else {
        panic!("{:?}", store.warnings())
    };
    assert!(warning.contains("synchronous_commit is off"), "{warning}");
    assert!(open(&database().1).await.warnings().is_empty());
}

/// At `repeatable read` a transaction does not see what was committed while it waited for a key's
/// lock.
#[tokio::test]
async fn one_key_makes_one_run_whatever_the_isolation_of_the_role() {
    for isolation in ["repeatable read", "serializable"] {
        let url = database_with(&format!("default_transaction_isolation = '{isolation}'"));
        let mut stores = Vec::new();
        for _ in 0..4 {
            stores.push(open(&url).await);
        }
        for round in 0..6 {
            let mut submitting = JoinSet::new();
            for store in stores.iter().cycle().take(12).cloned() {
                let submit = two_steps().key(format!("key {round}"));
                submitting.spawn(async move {
                    Client::new(store as Arc<dyn Store>)
                        .submit(submit)
                        .await
                        .unwrap()
                        .run
                        .id
                });
            }
            let runs = submitting.join_all().await;
            assert!(
                runs.iter().all(|run| *run == runs[0]),
                "{isolation}: {runs:?}"
            );
        }
        assert_eq!(stores[0].runs(RunFilter::default()).await.unwrap().len(), 6);
    }
}

/// Twenty processes start at once on a pool smaller than that; one session is enough for each.
#[tokio::test]
async fn one_session_of_a_pool_is_enough_to_start() {
    let (name, _) = database();
    for (pool, stores) in [(1, 3), (8, 20)] {
        let bouncer = ScratchBouncer::start(ScratchPostgres::shared(), pool).unwrap();
        let mut opening: JoinSet<Result<PostgresStore, StoreError>> = JoinSet::new();
        for _ in 0..stores {
            opening.spawn(options(&bouncer.url_of(&name)).open());
        }
        let opened: Vec<_> = opening
            .join_all()
            .await
            .into_iter()
            .map(|store| Arc::new(store.unwrap()))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let worker = worker(&opened[0], folder.path()).await;
        let run = Client::new(opened[1].clone() as Arc<dyn Store>)
            .submit(two_steps())
            .await
            .unwrap()
            .run
            .id;
        assert!(ended(&opened[2], run).await.head.status.is_ended());
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_submission_by_sql_means_the_same_in_any_session() {
    let (name, url) = database();
    open(&url).await;
    let statement = "SELECT string_agg(setting, ' ') FROM pg_proc, unnest(proconfig) AS setting
        WHERE proname = 'submit' AND pronamespace = 'surefoot'::regnamespace";
    let settings = psql(&name, statement);
    for expect in [
        "standard_conforming_strings=on",
        "row_security=off",
        "transform_null_equals=off",
        "search_path=",
    ] {
        assert!(settings.contains(expect), "{settings}");
    }
}
