//! HTTP API, live events and dashboard of Surefoot.
//!
//! [`serve`] answers on a listener until it is told to stop. It knows the engine's [`surefoot::Client`] and nothing of which
//! store is behind it, and reads neither files (but for workflows) nor the environment: [`ServerOptions`] says all.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "tests make and look at files")
)]

mod actions;
pub mod alerts;
mod api;
mod audit;
pub mod auth;
mod checkup;
mod dashboard;
mod due;
mod http;
mod local_path;
#[cfg(test)]
mod node;
mod options;
mod serve;
mod sse;
mod state;
mod submission;
mod workflows;

pub use alerts::AlertOptions;
pub use audit::record_by_command;
pub use checkup::{Checkup, Finding, FindingLevel};
pub use options::{RequestLimits, ServerOptions};
pub use serve::{ServeError, serve};
pub use submission::{Refused, RefusedKind, SubmissionCheck};
pub use workflows::{Workflows, WorkflowsError};
