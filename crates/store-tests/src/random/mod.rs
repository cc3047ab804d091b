//! Random operation sequences, executed on a store and on the model; both must return the same.
//!
//! Both share one clock, and ids are generated once for both. Every answer is compared, and at the
//! end everything that the stores show. A sequence that reveals a difference is shrunk before it is
//! printed.

mod op;
mod world;

use proptest::test_runner::TestCaseError;

use self::world::World;
use crate::{Scene, block_on, search};

/// Compares a store with the model over `cases` sequences; [`crate::conformance!`] generates a test
/// of this as well. `PROPTEST_RNG_SEED` in the environment repeats a search ([`search()`]).
///
/// # Panics
/// If a sequence reveals a difference: prints the shortest one found.
pub fn agrees_with_the_model<F: Future<Output = Scene>>(cases: u32, make: impl Fn() -> F) {
    search(cases, &op::sequences(), |ops| {
        block_on(async {
            let mut world = World::new(make().await).await;
            for op in &ops {
                world
                    .play(op)
                    .await
                    .map_err(|why| TestCaseError::fail(format!("at {op:?}: {why}")))?;
            }
            world
                .compare()
                .await
                .map_err(|why| TestCaseError::fail(format!("in the end: {why}")))
        })
    });
}
