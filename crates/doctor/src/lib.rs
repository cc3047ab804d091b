//! What a deployment of Surefoot really guarantees, not what it should: one [`Finding`] for each thing that was looked at.
//!
//! Here is what needs a [`surefoot::Store`], paths and the host alone, so that the command line and a dashboard can share
//! it. What must know which database it speaks to is with the program that names the database.
//! Nothing here changes a run. Each check says what it saw; `docs/doctor.md` says where the claims come from.

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
pub use filesystem::file_system;
pub use finding::{Finding, Level};
pub use folder::writable;
pub use fsync::{fsync, judge_fsync, measure_fsync};
pub use git::git;
pub use space::{free_space, judge_space};
pub use unreadable::unreadable;
pub use waiting::{WAITING_LONG, waiting};
pub use workers::{orphans, workers};
