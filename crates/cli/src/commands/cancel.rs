//! `surefoot cancel RUN`: stop a run, and take back what it made when asked to.

use serde_json::json;
use surefoot::state::CancelMode;
use surefoot::{Run, RunStatus};

use crate::app::{App, person};
use crate::args::Cancel;
use crate::errors::{Exit, Failure};
use crate::host::Outcome;
use crate::{audit, follow, out, refer};

/// Cancels a run. With `--wait` a run that ends up cancelled is what was asked for: the exit status
/// is 0.
pub(crate) async fn cancel(app: &App, args: &Cancel) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let run = refer::find(client.store().as_ref(), &args.run.run).await?;
    let seen = follow::last_event(client.store().as_ref(), run.id).await?;
    let mode = if args.undo {
        CancelMode::Undo
    } else {
        CancelMode::Stop
    };
    let run = client.cancel(run.id, mode, &person()).await?;
    let store = client.store().as_ref();
    let detail = json!({ "undo": args.undo });
    audit::record(store, "run.cancel", &run.id.to_string(), detail).await;
    if !args.undo
        && run.head.status == RunStatus::Cancelled
        && run.steps.iter().any(|step| step.attempt > 0)
    {
        out::say(&format!(
            "{}; to take it back: surefoot cancel {} --undo --wait",
            remains(&run),
            run.id
        ));
    }
    if !args.wait || run.head.status.is_ended() {
        return super::changed(app, &client, run, seen, false).await;
    }
    match super::carried(app, &client, run, seen).await? {
        Outcome::Ended(run) if run.head.status == RunStatus::Cancelled => {
            super::changed(app, &client, *run, seen, false).await
        }
        outcome => crate::summary::print(app, &outcome),
    }
}

/// Names the steps whose work no undo has taken back.
fn remains(run: &Run) -> String {
    let steps = run
        .plan
        .steps()
        .iter()
        .zip(&run.steps)
        .filter(|(_, step)| step.remains());
    let names: Vec<&str> = steps.map(|(plan, _)| plan.id.as_str()).collect();
    format!("what its steps made stays as it is ({})", names.join(", "))
}
