//! The search for a difference finds one where there is one.

use std::sync::Arc;

use surefoot_store_tests::{MemoryStore, Scene, agrees_with_the_model};

#[test]
#[should_panic(expected = "the model")]
fn two_stores_that_differ_are_told_apart() {
    agrees_with_the_model(200, async || {
        let clock = Scene::clock();
        // It lets several workers live, and is held against a model that lets one.
        Scene::new(Arc::new(MemoryStore::new(clock.clone())), clock, ()).one_worker()
    });
}
