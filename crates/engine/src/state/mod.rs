//! The state of a run and of its steps, and the rules by which it changes.
//!
//! Everything here is pure: no store, no clock, no handler. [`Edit`] applies the rules and yields a
//! [`Transition`], which a store writes in one commit. `docs/state-machine.md` draws it.

mod edit;
mod person;
mod run;
mod status;
mod transition;

pub use edit::{Edit, Interruption, RuleError};
pub use person::Answer;
pub use run::{Head, Run, StepState};
pub use status::{CancelMode, RunStatus, StepStatus, Undo, Wait};
pub use transition::{Lease, Transition};
