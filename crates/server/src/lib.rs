//! HTTP API, live events and dashboard of Surefoot.
//!
//! [`serve`] serves a listener until it is cancelled. It uses the engine's [`surefoot::Client`] and
//! knows no concrete store. It reads no environment and, except for workflows, no files; its
//! configuration is in [`ServerOptions`].

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
#[cfg(test)]
mod node;
mod options;
mod safe_redirect;
mod serve;
mod sse;
mod state;
mod submission;
mod workflows;

pub use actions::limits_detail;
pub use alerts::AlertOptions;
pub use audit::record_by_command;
pub use checkup::{Checkup, Finding, FindingLevel};
pub use options::{RequestLimits, ServerOptions};
pub use serve::{ServeError, serve};
pub use submission::{Refused, RefusedKind, SubmissionCheck};
pub use workflows::{Workflows, WorkflowsError};
