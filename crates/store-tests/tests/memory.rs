//! The suite on the model itself, with several workers and with one: this checks the cases against
//! the model, and the model against the cases.

use std::sync::Arc;

use surefoot_store_tests::{MemoryStore, Scene};

async fn many() -> Scene {
    let clock = Scene::clock();
    Scene::new(Arc::new(MemoryStore::new(clock.clone())), clock, ())
}

async fn alone() -> Scene {
    let clock = Scene::clock();
    Scene::new(
        Arc::new(MemoryStore::new(clock.clone()).one_worker()),
        clock,
        (),
    )
    .one_worker()
}

mod many_workers {
    use super::many;
    surefoot_store_tests::conformance!(many);
}

mod one_worker {
    use super::alone;
    surefoot_store_tests::conformance!(alone);
}
