//! PostgreSQL clusters of their own, for tests, drills and benchmarks: real servers in a temporary folder, on a free port of
//! the loopback, with fsync on, that can be stopped, killed, refused and started again.
//!
//! PostgreSQL does not run as root: then the cluster belongs to the user `postgres`, or `nobody`. Nothing outlives the
//! process that started it, however it ends: a small shell waits for its end beside every server.

#![expect(
    clippy::disallowed_methods,
    reason = "clusters for tests live in folders of their own"
)]

mod bouncer;
mod cluster;
mod data_directory;
mod error;
mod ground;
mod programs;
mod watcher;

pub use bouncer::ScratchBouncer;
pub use cluster::{ScratchOptions, ScratchPostgres, Stop};
pub use error::ScratchError;
