//! Temporary PostgreSQL clusters for tests, drills and benchmarks: real servers in a temporary
//! directory, on a free port of the loopback, with fsync on, that can be stopped, killed, made to
//! refuse connections and started again; standbys that take over, wall clocks that step, and a
//! proxy whose connections fall silent.
//!
//! PostgreSQL refuses to run as root; for root the cluster runs as the user `postgres`, or
//! `nobody`. No server outlives the process that started it, however that ends: a small shell
//! beside every server waits for its end.

#![expect(
    clippy::disallowed_methods,
    reason = "clusters for tests live in folders of their own"
)]

mod bouncer;
mod clock;
mod cluster;
mod data_directory;
mod error;
mod ground;
mod pair;
mod programs;
mod proxy;
mod watcher;

pub use bouncer::ScratchBouncer;
pub use clock::SteppableClock;
pub use cluster::{ScratchOptions, ScratchPostgres, Stop};
pub use error::ScratchError;
pub use pair::ScratchPair;
pub use proxy::{ScratchProxy, Silence};
