//! `surefoot queues`, `surefoot queue pause|resume|set`.

use serde_json::json;
use surefoot::{AllowList, QueueInfo, RetentionLimit};

use crate::app::App;
use crate::args::{Queue, QueueSet};
use crate::errors::{Exit, Failure};
use crate::table::table;
use crate::view::QueueView;
use crate::{audit, out, queues, summary};

/// Lists the queues.
pub(crate) async fn list(app: &App) -> Result<Exit, Failure> {
    let queues = app.client().await?.store().queues().await?;
    if app.json {
        summary::json(&queues.iter().map(QueueView::from).collect::<Vec<_>>())?;
    } else if queues.is_empty() {
        out::say("no queue has had a run or been given limits yet");
    } else {
        print_table(&queues)?;
    }
    Ok(Exit::Done)
}

/// Pauses, resumes or limits a queue.
pub(crate) async fn change(app: &App, command: &Queue) -> Result<Exit, Failure> {
    match command {
        Queue::Pause(queue) => pause(app, &queue.name, true).await,
        Queue::Resume(queue) => pause(app, &queue.name, false).await,
        Queue::Set(args) => set(app, args).await,
    }
}

async fn pause(app: &App, name: &str, paused: bool) -> Result<Exit, Failure> {
    expect_name(name)?;
    let store = app.store().await?;
    store.pause_queue(name, paused).await?;
    let action = if paused {
        "queue.pause"
    } else {
        "queue.resume"
    };
    audit::record(store.as_ref(), action, name, json!({})).await;
    let now = if paused {
        "paused: what runs, runs on; nothing more starts"
    } else {
        "resumed"
    };
    out::say(&format!("queue {name} is {now}"));
    Ok(Exit::Done)
}

async fn set(app: &App, args: &QueueSet) -> Result<Exit, Failure> {
    expect_name(&args.name)?;
    if args.limits.is_empty() {
        return Err(Failure::usage("no limit is named")
            .hint("such as --concurrency 3, --rate 5/1s, --keep-completed 30d or --workflows 'project-*'; `none` takes a limit away"));
    }
    let store = app.store().await?;
    queues::change(store.as_ref(), &args.name, &args.limits).await?;
    let all = store.queues().await?;
    let changed = all
        .into_iter()
        .filter(|queue| queue.name == args.name)
        .collect::<Vec<_>>();
    if let Some(queue) = changed.first() {
        audit::limited(store.as_ref(), &args.name, &queue.limits).await;
    }
    match (app.json, changed.first()) {
        (true, Some(queue)) => summary::json(&QueueView::from(queue))?,
        _ => print_table(&changed)?,
    }
    Ok(Exit::Done)
}

/// A queue that no workflow can name would wait for a run that never comes.
fn expect_name(name: &str) -> Result<(), Failure> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if !name.is_empty() && name.len() <= 100 && name.chars().all(fits) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "`{name}` is not the name of a queue: letters, digits, `-`, `_` and `.`"
    )))
}

fn print_table(queues: &[QueueInfo]) -> Result<(), Failure> {
    let head = [
        "QUEUE",
        "STATE",
        "QUEUED",
        "WAITING",
        "RUNNING",
        "CONCURRENCY",
        "PER KEY",
        "RATE",
        "KEEPS",
        "PERMITS",
    ];
    out::print(&table(&head, &queues.iter().map(row).collect::<Vec<_>>()))
}

fn row(queue: &QueueInfo) -> Vec<String> {
    let limits = &queue.limits;
    let number =
        |limit: Option<u32>| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
    vec![
        queue.name.clone(),
        if queue.paused { "paused" } else { "open" }.to_owned(),
        queue.queued.to_string(),
        queue.waiting.to_string(),
        queue.running.to_string(),
        number(limits.concurrency),
        number(limits.concurrency_per_key),
        limits
            .rate
            .map_or_else(|| "-".to_owned(), |rate| rate.to_string()),
        keeps(queue),
        permits(queue),
    ]
}

fn permits(queue: &QueueInfo) -> String {
    let allow = &queue.limits.allow;
    let of = |what: &str, list: &AllowList| list.entries().map(|_| format!("{what} {list}"));
    let parts = [
        of("workflows", &allow.workflows),
        of("actions", &allow.actions),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>();
    if parts.is_empty() {
        "all".to_owned()
    } else {
        parts.join("; ")
    }
}

fn keeps(queue: &QueueInfo) -> String {
    let retention = &queue.limits.retention;
    let of = |outcome: &str, limit: RetentionLimit| {
        limit.limited().map(|limit| format!("{outcome} {limit}"))
    };
    let parts = [
        of("completed", retention.completed),
        of("failed", retention.failed),
        of("cancelled", retention.cancelled),
    ];
    let parts = parts.into_iter().flatten().collect::<Vec<_>>();
    if parts.is_empty() {
        "all".to_owned()
    } else {
        parts.join("; ")
    }
}
