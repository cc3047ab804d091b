//! Random operation sequences: a store and the model are told the same, and have to say the same.
//!
//! One clock drives both, and ids are made once for both. Every answer is compared, and in the end everything that the
//! stores show. A sequence that tells them apart is made as short as can be before it is shown.

mod op;
mod world;

use proptest::test_runner::TestCaseError;

use self::world::World;
use crate::{Scene, block_on, search};

/// Holds a store against the model, over `cases` sequences; [`crate::conformance!`] makes a test of this as well.
/// `PROPTEST_RNG_SEED` in the environment repeats a search ([`search()`]).
///
/// # Panics
/// When a sequence tells the two apart: shows the shortest one found.
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
