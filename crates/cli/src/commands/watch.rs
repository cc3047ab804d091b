//! `surefoot watch RUN`: follow a run to its end.

use crate::app::App;
use crate::args::RunArg;
use crate::errors::{Exit, Failure};
use crate::host::Outcome;
use crate::{follow, refer, summary};

/// Follows a run, from its first event on. The exit status is the run's.
pub(crate) async fn watch(app: &App, args: &RunArg) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let run = refer::find(client.store().as_ref(), &args.run).await?;
    super::say_who_works(&client, &run).await?;
    let run = follow::watch(app, &client, &run).await?;
    summary::print(app, &Outcome::Ended(Box::new(run)))
}
