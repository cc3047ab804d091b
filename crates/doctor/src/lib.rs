//! Checks what a deployment of Surefoot really guarantees: one [`Finding`] for each check.
//!
//! This crate has the checks that need only a [`surefoot::Store`], paths and the host, so that the
//! command line and a dashboard can share them. Checks that depend on the kind of database are in
//! the program that opens the database. No check changes a run. Each says what it saw;
//! `docs/doctor.md` gives the sources of the claims.

mod actions;
mod credentials;
mod filesystem;
mod finding;
mod folder;
mod fsync;
mod git;
mod space;
pub mod text;
mod unreadable;
mod waiting;
mod workers;

pub use actions::unknown_actions;
pub use credentials::{credentials, named_credentials};
pub use filesystem::{file_system, remote_file_system};
pub use finding::{Finding, Level};
pub use folder::writable;
pub use fsync::{fsync, judge_fsync, measure_fsync};
pub use git::git;
pub use space::{free_space, judge_space};
pub use unreadable::unreadable;
pub use waiting::{WAITING_LONG, waiting};
pub use workers::{orphans, workers};
