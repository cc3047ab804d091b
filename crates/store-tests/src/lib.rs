//! What every store is held against: an in-memory model, one conformance suite, and random operation sequences.
//!
//! - [`MemoryStore`] is the model: maps under a lock, and the rules of [`surefoot::state`]. Not durable, not fast.
//! - [`FaultyStore`] wraps a store and fails, or crashes, at a write that the test chooses.

mod faulty;
mod memory;

pub use faulty::{Fault, FaultyStore};
pub use memory::MemoryStore;
