//! Durable runs of workflows whose steps are declared up front.
//!
//! A [`Workflow`] is data: an ordered list of named steps. Submitting it makes a [`Run`], with a
//! row for every step from that moment on. A [`Worker`] takes runs from a [`Store`] under a lease
//! and gives each step to the [`StepHandler`] registered under the step's action. What a step did
//! is committed before the next begins, so a process that is killed carries on from the step it was
//! on.
//!
//! This crate has no SQL and no HTTP: stores live in crates of their own (`surefoot-sqlite`).

mod address;
mod allow;
mod client;
mod credentials;
mod cut;
mod digits;
pub mod document;
mod duration;
mod event;
mod expression;
pub mod files;
mod handler;
mod id;
mod keys;
pub mod limits;
mod mask;
pub mod metrics;
mod network;
mod queue;
mod record;
mod resources;
mod secret_keys;
mod shortage;
pub mod state;
pub mod statistics;
pub mod store;
mod time;
pub mod unreadable;
mod validate;
mod waiting;
mod worker;
pub mod workflow;
mod workspace;

pub use address::{AddressError, AddressPolicy, AddressRange};
pub use allow::{AllowList, AllowListError, AllowLists, ListOwner, NotPermitted, Refused};
pub use client::{Client, Submit, SubmitError, SubmittedRun, Watch};
pub use credentials::{CredentialError, CredentialSource, NoCredentials, Secret};
pub use cut::{CUT, cut};
pub use digits::{from_json, keep_digits};
pub use duration::{DurationError, format_duration, parse_duration};
pub use event::{Event, NewEvent};
#[doc(hidden)]
pub use expression::language;
pub use expression::{ExpressionError, Segment, split_expressions};
pub use handler::{
    BoxError, Handlers, MAX_DEFERRAL, MAX_DEFERRALS, Outcome, Output, PlanError, StepContext,
    StepError, StepHandler, Undone, handler_fn,
};
pub use id::{Digest, RunId, WorkerId};
pub use keys::{LONGEST_KEY, check_key};
pub use network::{Network, NetworkError};
pub use queue::{QueueInfo, QueueLimitError, QueueLimits, Rate, Retention, RetentionLimit};
pub use record::{Record, RecordChange};
pub use resources::MAX_REQUIRED;
pub use secret_keys::{KeyFileError, SealError, Sealed, SecretKeys};
pub use state::{Run, RunStatus, StepState, StepStatus};
pub use store::{Store, StoreError};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use waiting::{Lacking, Waiting};
pub use worker::{ReservedSlots, STOP_LIMIT, Worker, WorkerHandle, WorkerOptions};
pub use workflow::{StepPlan, Workflow, WorkflowError};
pub use workspace::{CHUNK, Snapshot};
