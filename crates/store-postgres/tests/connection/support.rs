//! Shared by these tests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use surefoot::{
    Handlers, Run, Store, Submit, Worker, WorkerHandle, WorkerOptions, Workflow, handler_fn,
};
use surefoot_postgres::{PostgresOptions, PostgresStore};
use surefoot_scratch_postgres::ScratchPostgres;

/// A new database of the shared cluster: its name and its URL.
pub(crate) fn database() -> (String, String) {
    let url = ScratchPostgres::shared().fresh_database().unwrap();
    (url.rsplit('/').next().unwrap().to_owned(), url)
}

/// Long enough to wait for others that create the schema, on a slow disk. Tests about speed set
/// their own timeouts.
pub(crate) fn options(url: &str) -> PostgresOptions {
    PostgresStore::options(url)
        .connect_timeout(Duration::from_secs(30))
        .operation_timeout(Duration::from_secs(30))
}

pub(crate) async fn open(url: &str) -> Arc<PostgresStore> {
    Arc::new(options(url).open().await.unwrap())
}

/// The error with which it cannot be opened.
pub(crate) async fn refused(options: PostgresOptions) -> String {
    options.open().await.unwrap_err().to_string()
}

/// Waits until `look` returns a value, and fails after a while.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A worker with the action `test.work`.
pub(crate) async fn worker(store: &Arc<PostgresStore>, folder: &Path) -> WorkerHandle {
    let work = handler_fn(async |_: surefoot::StepContext, (): ()| {
        Ok(serde_json::json!({ "done": true }))
    });
    let workspaces: PathBuf = folder.to_owned();
    let options = WorkerOptions {
        workspaces,
        ..WorkerOptions::default()
    };
    Worker::start(
        store.clone(),
        Handlers::new().with("test.work", work),
        options,
    )
    .await
    .unwrap()
}

/// A run of two steps to submit.
pub(crate) fn two_steps() -> Submit {
    let plan = Workflow::builder("two-steps")
        .step("one", "test.work")
        .step("two", "test.work")
        .build()
        .unwrap();
    Submit::new(Arc::new(plan))
}

/// Waits for the end of a run.
pub(crate) async fn ended(store: &Arc<PostgresStore>, run: surefoot::RunId) -> Run {
    let client = surefoot::Client::new(store.clone() as Arc<dyn Store>);
    tokio::time::timeout(Duration::from_secs(60), client.wait(run))
        .await
        .unwrap()
        .unwrap()
}
