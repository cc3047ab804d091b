//! `surefoot forge`: which local forge the store has, and making this host's folder the one.

use serde_json::json;
use surefoot::Store;
use surefoot::store::WorkerInfo;
use surefoot_initializer::forge::{LOCAL_FORGE, LocalForge, StoreForge};

use crate::app::App;
use crate::args::ForgeCommand;
use crate::errors::{Exit, Failure};
use crate::forge::{Elsewhere, Standing, off_runtime, place};
use crate::progress::clean;
use crate::{audit, out, shipped, summary};

/// Shows the local forge, or makes the folder of this host the store's own.
pub(crate) async fn forge(app: &App, command: Option<&ForgeCommand>) -> Result<Exit, Failure> {
    let client = app.client().await?;
    match command {
        None => show(app, client.store().as_ref()).await,
        Some(ForgeCommand::Adopt) => adopt(app, client.store().as_ref()).await,
    }
}

async fn show(app: &App, store: &dyn Store) -> Result<Exit, Failure> {
    let (standing, of_store) = (
        Standing::look(store, &app.settings).await?,
        StoreForge::of(store).await?,
    );
    let offering = offering(&store.workers().await?);
    let is_here = matches!(standing, Standing::Own(_));
    let elsewhere = match &of_store {
        Some(forge) => Elsewhere::of(store, &forge.id).await?,
        None => Vec::new(),
    };
    if app.json {
        let bound = |bound: &Elsewhere| {
            json!({
                "run": bound.run.id.to_string(), "key": bound.run.key,
                "status": bound.run.head.status.as_str(), "forge": bound.forge.as_str(),
            })
        };
        summary::json(&json!({
            "forge": of_store.as_ref().map(|forge| forge.id.as_str()),
            "brought_from": of_store.as_ref().map(|forge| &forge.place),
            "here": place(&app.settings), "is_here": is_here, "workers": offering,
            "elsewhere": elsewhere.iter().map(bound).collect::<Vec<_>>(),
        }))?;
        return Ok(Exit::Done);
    }
    let known = match &of_store {
        Some(forge) => format!("{}, brought from {}", forge.id, forge.place),
        None => "none yet: the first worker that starts brings it".to_owned(),
    };
    let by = if offering.is_empty() {
        "none".to_owned()
    } else {
        offering.join(", ")
    };
    let here = if is_here {
        "it is this one"
    } else {
        "it is another one"
    };
    let here = if of_store.is_some() {
        format!(" ({here})")
    } else {
        String::new()
    };
    out::print(&format!(
        "local forge   {known}\nthis host     {}{here}\nlive workers that have it   {by}\n",
        place(&app.settings)
    ))?;
    say_elsewhere(&elsewhere);
    if let Some((warning, advice)) = standing.warning(&app.settings) {
        out::say(&format!("{warning}; {advice}"));
    }
    Ok(Exit::Done)
}

/// The names of the workers that offer the store's local forge.
fn offering(workers: &[WorkerInfo]) -> Vec<String> {
    let offering = workers
        .iter()
        .filter(|worker| worker.resources.contains(LOCAL_FORGE));
    offering.map(|worker| worker.name.clone()).collect()
}

async fn adopt(app: &App, store: &dyn Store) -> Result<Exit, Failure> {
    let known = StoreForge::of(store).await?;
    let mark = off_runtime(shipped::forge(&app.settings), LocalForge::mark)
        .await
        .map_err(Failure::usage)?;
    let is_other = |known: &StoreForge| mark.as_ref().is_none_or(|mark| mark.id != known.id);
    let lives = offering(&store.workers().await?);
    if known.as_ref().is_some_and(is_other) && !lives.is_empty() {
        let message = format!(
            "live workers offer the store's present local forge: {}",
            lives.join(", ")
        );
        return Err(
            Failure::usage(message).hint("stop them first: two forges would otherwise take runs")
        );
    }
    let id = off_runtime(shipped::forge(&app.settings), LocalForge::settle)
        .await
        .map_err(Failure::usage)?;
    let place = place(&app.settings);
    StoreForge::adopt(store, &id, &place).await?;
    let before = known.map(|known| known.id.to_string());
    audit::record(
        store,
        "forge.adopt",
        &place,
        json!({ "forge": id.as_str(), "before": before }),
    )
    .await;
    out::print(&format!(
        "the local forge of {} is {id}, in {place}\n",
        app.settings.store
    ))?;
    say_elsewhere(&Elsewhere::of(store, &id).await?);
    Ok(Exit::Done)
}

/// Lists the runs that only another forge can carry on, and the ways out.
fn say_elsewhere(elsewhere: &[Elsewhere]) {
    if elsewhere.is_empty() {
        return;
    }
    let (runs, wait) = match elsewhere.len() {
        1 => ("1 unfinished run".to_owned(), "waits"),
        count => (format!("{count} unfinished runs"), "wait"),
    };
    out::say(&format!(
        "{runs} with a repository in another local forge {wait} for a worker that has it:"
    ));
    for bound in elsewhere {
        let name = clean(&bound.name());
        let run = bound.run.id;
        out::say(&format!(
            "  {name}  forge {}  surefoot cancel {run}",
            bound.forge
        ));
    }
    out::say(
        "start a worker where that forge is, and they go on; or, when it is gone for good, cancel them as above: what they made \
         there stays as it is, and their names are free for a new `surefoot init`",
    );
}
