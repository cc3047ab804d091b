//! The search for differences finds an existing one.

use std::panic::catch_unwind;
use std::sync::Arc;

use surefoot_store_tests::{MemoryStore, Scene, agrees_with_the_model};

#[test]
fn a_difference_between_two_stores_is_found() {
    let searched = catch_unwind(|| {
        agrees_with_the_model(200, async || {
            let clock = Scene::clock();
            // It allows several live workers, and is compared with a model that allows one.
            Scene::new(Arc::new(MemoryStore::new(clock.clone())), clock, ()).one_worker()
        });
    });
    let found = searched.unwrap_err().downcast::<String>().unwrap();
    assert!(
        found.contains("the model") && found.contains("PROPTEST_RNG_SEED="),
        "{found}"
    );
}
