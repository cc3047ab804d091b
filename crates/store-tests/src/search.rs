//! Random searches that can be repeated.

use std::fmt::Debug;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};

/// Tests `cases` values of `strategy`. Each search has a new seed and prints it when it finds a
/// failure: `PROPTEST_RNG_SEED` in the environment repeats it.
///
/// # Panics
/// If a value fails: prints the shortest one found.
pub fn search<S: Strategy>(cases: u32, strategy: &S, attempt: impl Fn(S::Value) -> TestCaseResult)
where
    S::Value: Debug,
{
    let given = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 5_000,
        ..Config::default()
    };
    let seed = match given.rng_seed {
        RngSeed::Fixed(seed) => seed,
        RngSeed::Random => RandomState::new().build_hasher().finish(),
    };
    let mut runner = TestRunner::new(Config {
        rng_seed: RngSeed::Fixed(seed),
        ..given
    });
    if let Err(error) = runner.run(strategy, attempt) {
        panic!("{error}\nrepeat the search with PROPTEST_RNG_SEED={seed}");
    }
}
