//! `surefoot runs`: list runs, the newest first.

use surefoot::Run;
use surefoot::store::RunFilter;

use crate::app::App;
use crate::args::Runs;
use crate::errors::{Exit, Failure};
use crate::out;
use crate::summary;
use crate::table::table;
use crate::view::RunView;

/// Lists runs.
pub(crate) async fn runs(app: &App, args: &Runs) -> Result<Exit, Failure> {
    let filter = RunFilter {
        status: args.status,
        workflow: args.workflow.clone(),
        queue: args.queue.clone(),
        limit: args.limit as usize,
        ..RunFilter::default()
    };
    let runs = app.client().await?.store().runs(filter).await?;
    if app.json {
        summary::json(&runs.iter().map(RunView::from).collect::<Vec<_>>())?;
    } else if runs.is_empty() {
        out::say("no such runs");
    } else {
        let rows = runs.iter().map(row).collect::<Vec<_>>();
        out::print(&table(
            &["ID", "WORKFLOW", "KEY", "STATUS", "DONE", "CREATED", "TOOK"],
            &rows,
        ))?;
    }
    Ok(Exit::Done)
}

fn status(run: &Run) -> String {
    let unreadable = if run.unreadable.is_some() {
        ", unreadable"
    } else {
        ""
    };
    format!("{}{unreadable}", run.head.status)
}

fn row(run: &Run) -> Vec<String> {
    vec![
        run.id.to_string(),
        run.plan.name().to_owned(),
        run.key.clone().unwrap_or_else(|| "-".to_owned()),
        status(run),
        format!("{:>3}%", run.head.progress),
        super::show::time(run.created_at),
        summary::duration(run).unwrap_or_default(),
    ]
}
