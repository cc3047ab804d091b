//! Temporary PostgreSQL clusters for tests, drills and benchmarks: real servers in a temporary
//! directory, on a free port of the loopback, with fsync on, that can be stopped, killed, made to
//! refuse connections and started again.
//!
//! PostgreSQL refuses to run as root; for root the cluster runs as the user `postgres`, or
//! `nobody`. No server outlives the process that started it, however that ends: a small shell
//! beside every server waits for its end.

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
