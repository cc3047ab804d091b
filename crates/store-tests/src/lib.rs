//! Tests for stores: an in-memory model, a conformance suite, and random operation sequences.
//!
//! - [`MemoryStore`] is the model: maps under a lock, and the rules of [`surefoot::state`]. Not
//!   durable, not fast.
//! - [`conformance!`] generates one test for each case of the suite, in the crate of the store.
//! - [`agrees_with_the_model`] runs random operations on a store and on the model. The suite
//!   includes it as one test.
//! - [`search()`] is a random search that prints how to repeat it.
//! - [`FaultyStore`] wraps a store and fails, or crashes, at a write that the test chooses.

// All of this is test code: a failed unwrap is a failed test.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a case says that the store errs"
)]

pub mod cases;
mod conformance;
mod faulty;
mod memory;
mod random;
mod scene;
mod search;

pub use conformance::block_on;
pub use faulty::{Fault, FaultyStore};
pub use memory::MemoryStore;
pub use random::agrees_with_the_model;
pub use scene::{Scene, reclaim_expired};
pub use search::search;
