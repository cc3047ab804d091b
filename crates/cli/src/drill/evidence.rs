//! Gathering the evidence of a scene when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use surefoot::store::RecordFilter;
use surefoot::{Event, RunId, Store, StoreError, Timestamp};
use surefoot_initializer::forge::MARK_FILE;
use surefoot_initializer::git::{Git, GitError};

use super::count::{Evidence, Project, Told};
use super::scene::{Scene, Submitted};
use crate::errors::Failure;

/// Events read at a time.
const PAGE: usize = 1000;

/// The whole history of a run, with the times that the store has.
pub(super) async fn history(store: &dyn Store, run: RunId) -> Result<Vec<Event>, StoreError> {
    let mut events: Vec<Event> = Vec::new();
    loop {
        let page = store
            .events(run, events.last().map_or(0, |event| event.seq), PAGE)
            .await?;
        let is_last = page.len() < PAGE;
        events.extend(page);
        if is_last {
            return Ok(events);
        }
    }
}

/// Looks at everything: the ledger, the repositories, the store.
pub(super) async fn gather(scene: &Scene, doomed: &[String]) -> Result<Evidence, Failure> {
    let mut ledger = scene
        .ledger
        .lines()
        .map_err(|error| Failure::store(format!("cannot read the ledger: {error}")))?;
    for line in &mut ledger {
        line.at = scene.unstepped(Timestamp::from_micros(line.at)).as_micros();
    }
    let repositories = scene.repositories();
    let mut evidence = Evidence {
        ledger,
        strays: strays(scene)?,
        skew: scene.skew,
        ..Evidence::default()
    };
    for submitted in &scene.projects {
        let name = &submitted.name;
        evidence.projects.push(Project {
            run: told(scene, submitted).await?,
            commits: commits(&repositories.join(format!("{name}.git")), &[]).await?,
            fleet_commits: commits(
                &repositories.join("fleet.git"),
                &["--", &format!("projects/{name}")],
            )
            .await?
            .unwrap_or(0),
            records: records(scene.store.as_ref(), submitted.run).await?,
            doomed: doomed.contains(name),
            initializes: submitted.initializes,
            name: name.clone(),
        });
    }
    Ok(evidence)
}

/// The histories by themselves: what moved when.
pub(super) fn histories(scene: &Scene, evidence: &Evidence) -> BTreeMap<RunId, Vec<Event>> {
    let runs = scene.projects.iter().zip(&evidence.projects);
    runs.filter_map(|(submitted, project)| {
        Some((submitted.run, project.run.as_ref()?.events.clone()))
    })
    .collect()
}

async fn told(scene: &Scene, submitted: &Submitted) -> Result<Option<Told>, Failure> {
    let Some(run) = scene.store.run(submitted.run).await? else {
        return Ok(None);
    };
    let events = scene.history(run.id).await?;
    Ok(Some(Told {
        status: run.head.status,
        error: run.head.error.clone(),
        steps: run.steps.len(),
        events,
    }))
}

async fn records(store: &dyn Store, run: RunId) -> Result<Vec<String>, Failure> {
    let filter = RecordFilter {
        run: Some(run),
        ..RecordFilter::default()
    };
    Ok(store
        .records(filter)
        .await?
        .into_iter()
        .map(|record| record.kind)
        .collect())
}

/// Commits in a repository, `None` when it is not there.
async fn commits(repository: &Path, of: &[&str]) -> Result<Option<usize>, Failure> {
    if !repository.exists() {
        return Ok(None);
    }
    let unreadable = |error: GitError| {
        Failure::store(format!(
            "cannot count what is in {}: {error}",
            repository.display()
        ))
    };
    let args = [&["rev-list", "--all", "--count"], of].concat();
    let text = Git::new(repository).run(&args).await.map_err(unreadable)?;
    text.trim()
        .parse()
        .map(Some)
        .map_err(|_| Failure::store(format!("git counts `{text}` commits")))
}

/// Lists entries beside the requested repositories.
fn strays(scene: &Scene) -> Result<Vec<String>, Failure> {
    let folder = scene.repositories();
    let wanted = scene
        .projects
        .iter()
        .map(|it| format!("{}.git", it.name))
        .chain(["fleet.git".to_owned()]);
    let wanted = wanted.collect::<BTreeSet<_>>();
    let listing = match std::fs::read_dir(&folder) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(crate::errors::unusable("list", &folder, &error)),
    };
    let names = listing
        .filter_map(Result::ok)
        .map(|entry| entry.file_name().to_string_lossy().into_owned());
    Ok(names
        .filter(|name| name != MARK_FILE && !wanted.contains(name))
        .collect())
}
