//! Behaviour of the SQLite store alone: files, processes, batches, a full disk. `conformance.rs`
//! has the behaviour of every store.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "what cannot be unwrapped is a failed test"
)]

mod content;
mod facts;
mod files;
mod full;
mod groups;
mod moved_files;
mod processes;
mod schema;
mod support;
mod workers;
