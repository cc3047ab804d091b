//! The suite that every store passes, through PgBouncer in transaction mode: no statement may
//! depend on what an earlier one left in its session, nor on the settings of the role.

mod common;

use std::sync::OnceLock;

use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};
use surefoot_store_tests::Scene;

/// The disk is not under test.
fn pooler() -> &'static str {
    static POOLER: OnceLock<(String, ScratchBouncer, ScratchPostgres)> = OnceLock::new();
    let made = POOLER.get_or_init(|| {
        let cluster = ScratchPostgres::with_settings(&["fsync = off", "full_page_writes = off"])
            .expect("PostgreSQL");
        // Fewer connections than the stores have sessions, so that each statement may reach another
        // one.
        let bouncer = ScratchBouncer::start(&cluster, 6).expect("PgBouncer");
        common::hostile_database(&cluster, "hostile", "'5s'");
        (bouncer.url_of("hostile"), bouncer, cluster)
    });
    &made.0
}

async fn pooled() -> Scene {
    common::scene(pooler()).await
}

surefoot_store_tests::conformance!(pooled);
