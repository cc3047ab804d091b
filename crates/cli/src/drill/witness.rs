//! The witness: what a worker of a drill puts around each of its handlers. It writes the ledger,
//! looks at what is really there after the handler, and makes go wrong what is to go wrong. The
//! handler inside is the real one.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;
use surefoot::{
    Clock as _, Handlers, Outcome, StepContext, StepError, StepHandler, SystemClock, Undone,
};

use super::ledger::{Ledger, Line, What};
use super::sabotage::{self, Act};

/// Puts a witness around every handler.
pub(crate) fn witnessed(handlers: Handlers, folder: &Path, repositories: &Path) -> Handlers {
    let around = |action: String| {
        let witness = Witness {
            handler: handlers.get(&action)?.clone(),
            action: action.clone(),
            ledger: Ledger::of(folder),
            folder: folder.to_owned(),
            repositories: repositories.to_owned(),
        };
        Some((action, witness))
    };
    let witnesses = handlers.actions().into_iter().filter_map(around);
    witnesses.fold(Handlers::new(), |all, (action, witness)| {
        all.with(action, witness)
    })
}

struct Witness {
    handler: Arc<dyn StepHandler>,
    action: String,
    ledger: Ledger,
    folder: PathBuf,
    repositories: PathBuf,
}

#[async_trait]
impl StepHandler for Witness {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        self.note(&context, What::Begin, "")?;
        let result = self.handler.run(context.clone()).await;
        if let Some(thing) = self.made(project(&context)) {
            self.note(&context, What::Effect, &thing)?;
        }
        let result = self.sabotaged(&context, result).await;
        self.note(
            &context,
            What::End,
            &result
                .as_ref()
                .err()
                .map_or("ok".to_owned(), StepError::chain),
        )?;
        result
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        self.handler.undo(context).await
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        self.handler.check(with)
    }
}

impl Witness {
    fn note(&self, context: &StepContext, what: What, thing: &str) -> std::io::Result<()> {
        self.ledger.append(&Line {
            at: SystemClock.now().as_micros(),
            what,
            pid: std::process::id(),
            run: context.run_id().to_string(),
            project: project(context).to_owned(),
            step: context.step_id().to_owned(),
            attempt: context.attempt(),
            key: context.idempotency_key(),
            thing: thing.to_owned(),
        })
    }

    /// The result of this step outside the store, as it is on the disk now. Environments and
    /// records are in the store, and commits are counted in the repositories.
    fn made(&self, project: &str) -> Option<String> {
        let repository = self.repositories.join(format!("{project}.git"));
        match self.action.as_str() {
            "git.create_repository" => identity(&repository),
            "git.push_template" => {
                let commit = fs::read_to_string(repository.join("refs/heads/main")).ok()?;
                Some(format!("commit {}", commit.trim()))
            }
            _ => None,
        }
    }

    async fn sabotaged(
        &self,
        context: &StepContext,
        result: Result<Outcome, StepError>,
    ) -> Result<Outcome, StepError> {
        let step = context.step_id();
        let project = project(context);
        let attempt = context.attempt();
        let pid = std::process::id();
        let planned = sabotage::planned(&self.folder)?;
        let hit = planned
            .into_iter()
            .find(|one| one.hits(step, project, attempt, pid));
        match hit
            .filter(|one| sabotage::claim(&self.folder, one))
            .map(|one| one.act)
        {
            Some(Act::Fail(message)) => Err(message.into()),
            Some(Act::Late(message)) => {
                sabotage::hold(&self.folder, &format!("{project}.{step}")).await?;
                Err(message.into())
            }
            Some(Act::Die) => {
                kill_process(getpid(), Signal::KILL)?;
                std::future::pending().await
            }
            Some(Act::Block) => loop {
                std::thread::park();
            },
            None => result,
        }
    }
}

/// A repository that was removed and made again is another one, even should it get the same inode.
fn identity(repository: &Path) -> Option<String> {
    let metadata = fs::metadata(repository).ok()?;
    let born = metadata
        .created()
        .ok()
        .and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    Some(format!(
        "repository {} {}",
        metadata.ino(),
        born.unwrap_or_default().as_micros()
    ))
}

fn project(context: &StepContext) -> &str {
    context.parameters()["name"].as_str().unwrap_or_default()
}
