//! `surefoot records`: what completed steps published.

use surefoot::Record;
use surefoot::store::RecordFilter;

use crate::app::App;
use crate::args::Records;
use crate::errors::{Exit, Failure};
use crate::progress::clean;
use crate::table::table;
use crate::view::RecordView;
use crate::{out, refer, summary};

/// Lists records.
pub(crate) async fn records(app: &App, args: &Records) -> Result<Exit, Failure> {
    let client = app.client().await?;
    let run = match &args.run {
        Some(run) => Some(refer::find(client.store().as_ref(), run).await?.id),
        None => None,
    };
    let filter = RecordFilter {
        kind: args.kind.clone(),
        name: args.name.clone(),
        run,
        ..RecordFilter::default()
    };
    let records = client.store().records(filter).await?;
    if app.json {
        summary::json(&records.iter().map(RecordView::from).collect::<Vec<_>>())?;
    } else if records.is_empty() {
        out::say("no such records");
    } else {
        out::print(&table(
            &["KIND", "NAME", "RUN", "DATA"],
            &records.iter().map(row).collect::<Vec<_>>(),
        ))?;
    }
    Ok(Exit::Done)
}

fn row(record: &Record) -> Vec<String> {
    vec![
        record.kind.clone(),
        clean(&record.name),
        record.run.to_string(),
        clean(&record.data.to_string()),
    ]
}
