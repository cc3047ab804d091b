//! Runs: submission, listings, live events, actions.

mod act;
mod bulk;
mod history;
mod list;
mod one;
mod submit;

pub(super) use act::*;
pub(super) use bulk::*;
pub(super) use history::*;
pub(super) use list::*;
pub(super) use one::*;
pub(super) use submit::*;
