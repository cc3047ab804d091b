//! What is the SQLite store's own: files, processes, groups, a full disk. What every store does is in `conformance.rs`.

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
mod places;
mod processes;
mod schema;
mod support;
mod workers;
