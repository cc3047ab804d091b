//! The actions that any workflow may use, and project initialization.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "tests make and look at files")
)]

pub mod actions;
mod commit;
mod environment;
pub mod forge;
pub mod git;
pub mod gitops;
pub mod process;
pub mod project;
mod push_lock;
pub mod template;

pub use environment::Environment;
