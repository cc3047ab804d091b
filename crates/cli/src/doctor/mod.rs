//! `surefoot doctor`: what this deployment really guarantees, not what it should.
//!
//! Checks that know the databases by name. Those that need only a store, paths and the host are in
//! `surefoot-doctor`.

mod bullmq;
mod forge;
mod host;
mod keys;
mod postgres;
mod report;
mod sqlite;

use surefoot::{Store, StoreError};
use surefoot_doctor::{
    Finding, Level, credentials, orphans, unknown_actions, unreadable, waiting, workers,
};

use crate::app::App;
use crate::args::Doctor;
use crate::credentials::EnvironmentAndFiles;
use crate::errors::{Exit, Failure};
use crate::place::Place;
use crate::shipped;

/// Looks, prints, and says by the exit status whether every promise holds here.
pub(crate) async fn doctor(app: &App, args: &Doctor) -> Result<Exit, Failure> {
    let (subject, findings) = match &args.redis {
        Some(url) => bullmq::examine(url.expose(), args).await?,
        None => examine(app).await,
    };
    report::print(app, &subject, &findings)?;
    Ok(exit(&findings))
}

/// Checks for the dashboard.
pub(crate) async fn findings(app: App) -> Vec<surefoot_server::Finding> {
    let shown = |finding: Finding| surefoot_server::Finding {
        level: match finding.level {
            Level::Ok => surefoot_server::FindingLevel::Ok,
            Level::Note => surefoot_server::FindingLevel::Note,
            Level::Warn => surefoot_server::FindingLevel::Warning,
            Level::Broken => surefoot_server::FindingLevel::Broken,
        },
        subject: finding.subject,
        found: finding.found,
        means: finding.means,
        advice: finding.advice,
    };
    // It calls git and waits for the disk: not on a thread that answers requests.
    let runtime = tokio::runtime::Handle::current();
    let looked = tokio::task::spawn_blocking(move || runtime.block_on(examine(&app)).1).await;
    looked.unwrap_or_default().into_iter().map(shown).collect()
}

/// The subject of the finding that the store cannot be opened.
const STORE: &str = "store";

fn exit(findings: &[Finding]) -> Exit {
    let broken = || {
        findings
            .iter()
            .filter(|finding| finding.level == Level::Broken)
    };
    match broken().next() {
        None => Exit::Done,
        _ if broken().any(|finding| finding.subject == STORE) => Exit::Store,
        _ => Exit::Broken,
    }
}

/// A store that cannot be opened is a finding too: the rest is looked at all the same.
fn away(error: &StoreError) -> Finding {
    let means = "nothing can be submitted and nothing moves while it is so; what it holds is as safe as its disk";
    Finding::broken(STORE, format!("it cannot be used: {error}"), means)
        .advice("see what is said, and look again")
}

/// This deployment: its store, and this host.
async fn examine(app: &App) -> (String, Vec<Finding>) {
    let (target, (mut findings, store)) = match &app.settings.store {
        Place::File(path) => (
            format!("sqlite:{}", path.display()),
            sqlite::examine(path).await,
        ),
        Place::Database(options) => (options.shown(), postgres::examine(*options.clone()).await),
    };
    findings.extend(host::examine(&app.settings, &app.workspaces()));
    if let Some(store) = store.as_deref() {
        findings.extend(of_store(store, app).await);
    }
    findings.extend(of_credentials(store.as_deref(), app).await);
    findings.extend(seen(
        "keys",
        keys::examine(store.as_deref(), &app.settings).await,
    ));
    (target, findings)
}

/// Checks of any kind of store.
async fn of_store(store: &dyn Store, app: &App) -> Vec<Finding> {
    let notifying = surefoot_server::alerts::handlers(&[], None, None);
    let mut known = shipped::handlers(&app.settings).actions();
    known.retain(|action| app.settings.allow.actions.permits(action));
    known.extend(notifying.actions());
    let mut findings = seen("workers", workers(store).await);
    findings.extend(seen(
        "sweep",
        orphans(store).await.map(|finding| vec![finding]),
    ));
    findings.extend(seen("waiting", waiting(store).await));
    findings.extend(seen(
        "unreadable",
        unreadable(store).await.map(|finding| vec![finding]),
    ));
    findings.extend(seen("forge", forge::examine(store, &app.settings).await));
    findings.extend(seen("actions", unknown_actions(store, &known).await));
    findings
}

async fn of_credentials(store: Option<&dyn Store>, app: &App) -> Vec<Finding> {
    let source = EnvironmentAndFiles::new(app.settings.credentials.clone());
    let forge = app
        .settings
        .forge
        .credential
        .iter()
        .map(|name| (name.clone(), "forge.credential".to_owned()));
    seen(
        "credentials",
        credentials(store, &source, &forge.collect::<Vec<_>>()).await,
    )
}

/// A store that does not answer one question may answer the next.
fn seen(subject: &str, findings: Result<Vec<Finding>, StoreError>) -> Vec<Finding> {
    findings.unwrap_or_else(|error| {
        let means = "workers meet the same, and stand still while it is so";
        vec![
            Finding::broken(subject, format!("cannot be looked at: {error}"), means)
                .advice("see what is said"),
        ]
    })
}
