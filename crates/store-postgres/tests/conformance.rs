//! The suite that every store passes, each case in a new schema of one scratch cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use surefoot::{RunId, Store};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;
use surefoot_store_tests::Scene;

async fn postgres() -> Scene {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let clock = Scene::clock();
    let url = ScratchPostgres::shared().url();
    let schema = format!(
        "scene_{}_{}",
        std::process::id(),
        MADE.fetch_add(1, Ordering::Relaxed)
    );
    let options = PostgresStore::options(&url)
        .schema(&schema)
        .clock(clock.clone());
    // A disk may be slow.
    let options = options
        .operation_timeout(Duration::from_secs(30))
        .connect_timeout(Duration::from_secs(30));
    let store = options.clone().open().await;
    let build = move |format| {
        let options = options.clone().plan_format(format);
        async move {
            let store = options.open().await;
            Arc::new(store.expect("the store can be opened again")) as Arc<dyn Store>
        }
    };
    let damage = move |statement: &str, run: RunId| {
        let statement = statement
            .replace("{schema}", &format!("{schema}."))
            .replace("{id}", &format!("'{run}'::uuid"))
            .replace("{digest}", "sha256(random()::text::bytea)")
            .replace("{zeros}", "decode(repeat('00', 2500000), 'hex')")
            .replace("{kept}", "workflow, queue, used, steps");
        ScratchPostgres::shared()
            .psql("postgres", &statement)
            .expect("the statement is right");
    };
    Scene::new(
        Arc::new(store.expect("a new store can be opened")),
        clock,
        (),
    )
    .with_damage(damage)
    .with_builds(build)
}

surefoot_store_tests::conformance!(postgres);
