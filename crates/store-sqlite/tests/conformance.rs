//! The suite that every store passes, each case on a new file. Several workers can be alive on one
//! store; only another store on the same file is refused, which `workers.rs` tests.

use std::sync::Arc;
use std::time::Duration;

use surefoot::{RunId, Store};
use surefoot_sqlite::SqliteStore;
use surefoot_store_tests::Scene;

async fn sqlite() -> Scene {
    let clock = Scene::clock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("surefoot.db");
    let options = SqliteStore::options().clock(clock.clone());
    let store = options.clone().open(&path);
    let reopened = path.clone();
    let build = move |format| {
        let store = options.clone().plan_format(format).open(&reopened);
        let store: Arc<dyn Store> = Arc::new(store.expect("the store can be opened again"));
        std::future::ready(store)
    };
    let damage = move |statement: &str, run: RunId| {
        let id = format!("x'{}'", run.to_string().replace('-', ""));
        let statement = statement
            .replace("{schema}", "")
            .replace("{id}", &id)
            .replace("{digest}", "randomblob(32)")
            .replace("{zeros}", "zeroblob(2500000)")
            .replace("{kept}", "workflow, queue");
        let conn = rusqlite::Connection::open(&path).expect("the file can be opened");
        conn.busy_timeout(Duration::from_secs(30))
            .expect("a timeout can be set");
        conn.execute_batch(&statement)
            .expect("the statement is right");
    };
    Scene::new(
        Arc::new(store.expect("a new store can be opened")),
        clock,
        folder,
    )
    .with_damage(damage)
    .with_builds(build)
}

surefoot_store_tests::conformance!(sqlite);
