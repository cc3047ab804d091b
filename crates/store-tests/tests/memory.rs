//! The suite on the model itself, with several workers and with one: this checks the cases against
//! the model, and the model against the cases.

use std::sync::Arc;

use surefoot::Store;
use surefoot_store_tests::{MemoryStore, Scene};

async fn many() -> Scene {
    let clock = Scene::clock();
    let store = Arc::new(MemoryStore::new(clock.clone()));
    with_builds(Scene::new(store.clone(), clock, ()), store)
}

async fn alone() -> Scene {
    let clock = Scene::clock();
    let store = Arc::new(MemoryStore::new(clock.clone()).one_worker());
    with_builds(Scene::new(store.clone(), clock, ()), store).one_worker()
}

fn with_builds(scene: Scene, store: Arc<MemoryStore>) -> Scene {
    scene.with_builds(move |format| {
        let build: Arc<dyn Store> = Arc::new(store.build(format));
        std::future::ready(build)
    })
}

mod many_workers {
    use super::many;
    surefoot_store_tests::conformance!(many);
}

mod one_worker {
    use super::alone;
    surefoot_store_tests::conformance!(alone);
}
