//! The search for a difference finds one where there is one.

use std::panic::catch_unwind;
use std::sync::Arc;

use surefoot_store_tests::{MemoryStore, Scene, agrees_with_the_model};

#[test]
fn two_stores_that_differ_are_told_apart() {
    let searched = catch_unwind(|| {
        agrees_with_the_model(200, async || {
            let clock = Scene::clock();
            // It lets several workers live, and is held against a model that lets one.
            Scene::new(Arc::new(MemoryStore::new(clock.clone())), clock, ()).one_worker()
        });
    });
    let found = searched.unwrap_err().downcast::<String>().unwrap();
    assert!(
        found.contains("the model") && found.contains("PROPTEST_RNG_SEED="),
        "{found}"
    );
}
