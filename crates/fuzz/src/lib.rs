//! Seeded fuzzing on the stable toolchain, for the tests of the other crates.
//!
//! [`fuzz`] calls a test with one [`Random`] after the other, on a thread with a small stack. The
//! same seed gives the same cases on every machine. `docs/fuzzing.md` says what is fuzzed, how to
//! run it for long, and how to repeat a case.

mod grammar;
mod mutate;
mod random;
mod runner;

pub use grammar::{Grammar, TEMPLATE_WORDS, WORKFLOW_WORDS, nested_json};
pub use mutate::{mutate, mutate_text};
pub use random::Random;
pub use runner::fuzz;
