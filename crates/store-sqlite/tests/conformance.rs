//! The suite that every store passes, on a new file each. Several workers live on one store: only another store on the same
//! file is refused, which `workers.rs` tests.

use std::sync::Arc;

use surefoot_sqlite::SqliteStore;
use surefoot_store_tests::Scene;

async fn sqlite() -> Scene {
    let clock = Scene::clock();
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let store = SqliteStore::options().clock(clock.clone()).open(&folder.path().join("surefoot.db"));
    Scene::new(Arc::new(store.expect("a new store can be opened")), clock, folder)
}

surefoot_store_tests::conformance!(sqlite);
