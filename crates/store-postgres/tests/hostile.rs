//! The suite that every store passes, for a role whose settings all differ from what the store
//! needs.

mod common;

use std::sync::OnceLock;

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
    common::scene(database()).await
}

surefoot_store_tests::conformance!(hostile);
