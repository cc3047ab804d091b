//! What every store is held against: an in-memory model, one conformance suite, and random operation sequences.
//!
//! - [`MemoryStore`] is the model: maps under a lock, and the rules of [`surefoot::state`]. Not durable, not fast.

mod memory;

pub use memory::MemoryStore;
