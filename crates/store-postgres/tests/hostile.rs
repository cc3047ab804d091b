//! The suite that every store passes, for a role whose settings all differ from what the store
//! needs.

mod common;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;
use surefoot_store_tests::Scene;

/// The settings are under test, not the disk.
fn database() -> &'static str {
    static MADE: OnceLock<(String, ScratchPostgres)> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let cluster = ScratchPostgres::with_settings(&["fsync = off", "full_page_writes = off"])
            .expect("PostgreSQL");
        common::hostile_database(&cluster, "hostile", "'1ms'");
        (cluster.url_of("hostile"), cluster)
    });
    &made.0
}

async fn hostile() -> Scene {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let clock = Scene::clock();
    let schema = format!("scene_{}", MADE.fetch_add(1, Ordering::Relaxed));
    let options = PostgresStore::options(database())
        .schema(&schema)
        .clock(clock.clone());
    // A disk may be slow.
    let store = options
        .operation_timeout(Duration::from_secs(30))
        .connect_timeout(Duration::from_secs(30))
        .open()
        .await;
    Scene::new(
        Arc::new(store.expect("a new store can be opened")),
        clock,
        (),
    )
}

surefoot_store_tests::conformance!(hostile);
