//! Alerts: rules that are looked at, and who is told.

use tokio::task::JoinSet;

use crate::state::App;

/// What raises an alert, and who is told.
#[derive(Clone, Debug, Default)]
pub struct AlertOptions {}

/// Sets the evaluation to work.
pub(crate) fn start(_app: &App, _tasks: &mut JoinSet<()>) {}
