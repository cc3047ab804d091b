//! The submitter of a soak: submits runs all the time, and notes each acknowledgement in a file
//! outside the store.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use surefoot::{Client, RunId, Submit, SubmitError, Workflow};

use super::super::scene::{Scene, Submitted};
use super::lines;
use super::random::Random;
use crate::errors::{Failure, unusable};
use crate::shipped;

/// The workflow of plain commands, and its queue.
pub(super) const COMMANDS: &str = "soak-commands";

/// Runs that are acknowledged and have not ended, at most: what is left at the end is done in
/// seconds.
const MOST_UNFINISHED: usize = 12;

/// The longest that the store may refuse one submission: longer than any of its outages here.
const REFUSED: Duration = Duration::from_secs(60);

/// Submits runs, one after the other.
pub(super) struct Submitter {
    client: Client,
    random: Random,
    commands: Arc<Workflow>,
    /// The file of acknowledgements: run, name, and `project` or `commands`.
    pub(super) ledger: PathBuf,
    submitted: usize,
    unfinished: Vec<RunId>,
}

impl Submitter {
    pub(super) fn new(scene: &Scene, random: Random) -> Result<Self, Failure> {
        Ok(Self {
            client: Client::new(scene.store.clone()),
            random,
            commands: Arc::new(commands(&effects_file(&scene.folder))?),
            ledger: scene.folder.join("acknowledged"),
            submitted: 0,
            unfinished: Vec::new(),
        })
    }

    /// Submits until that time. Each acknowledgement is in the ledger when this returns, also with
    /// an error.
    pub(super) async fn run(&mut self, end: Instant) -> Result<(), Failure> {
        while Instant::now() < end {
            let pause = self.random.time(50, 500);
            tokio::time::sleep(pause).await;
            if self.count_unfinished().await < MOST_UNFINISHED {
                self.submit().await?;
            }
        }
        Ok(())
    }

    async fn count_unfinished(&mut self) -> usize {
        let mut unfinished = Vec::new();
        for id in std::mem::take(&mut self.unfinished) {
            let run = self.client.store().run(id).await;
            if !run.is_ok_and(|run| run.is_none_or(|run| run.head.status.is_ended())) {
                unfinished.push(id);
            }
        }
        self.unfinished = unfinished;
        self.unfinished.len()
    }

    /// Submits one more run, again and again with the same key until the store acknowledges it.
    async fn submit(&mut self) -> Result<(), Failure> {
        self.submitted += 1;
        let initializes = self.submitted % 2 == 1;
        let (workflow, word) = if initializes {
            (shipped::workflow(), "project")
        } else {
            (self.commands.clone(), "commands")
        };
        let name = format!("{word}-{:05}", self.submitted);
        let began = Instant::now();
        loop {
            let submit = Submit::new(workflow.clone())
                .parameters(json!({ "name": name }))
                .key(&name);
            match self.client.submit(submit).await {
                Ok(submitted) => {
                    let run = submitted.run.id;
                    self.unfinished.push(run);
                    return self.note(&format!("{run} {name} {word}\n"));
                }
                Err(SubmitError::Store(_)) if began.elapsed() < REFUSED => {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn note(&self, line: &str) -> Result<(), Failure> {
        let file = File::options().append(true).create(true).open(&self.ledger);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| unusable("write", &self.ledger, &error))
    }
}

/// Reads the file of acknowledgements.
pub(super) fn acknowledged(ledger: &Path) -> Result<Vec<Submitted>, Failure> {
    let one = |line: &String| {
        let mut words = line.split(' ');
        let run = words.next()?.parse().ok()?;
        let name = words.next()?.to_owned();
        let initializes = words.next()? == "project";
        Some(Submitted {
            name,
            run,
            initializes,
        })
    };
    let damaged = || Failure::store(format!("{} is damaged", ledger.display()));
    lines(ledger)?
        .iter()
        .map(|line| one(line).ok_or_else(damaged))
        .collect()
}

fn effects_file(folder: &Path) -> PathBuf {
    folder.join("effects")
}

/// The run and the step of each line that a command wrote.
pub(super) fn effects(folder: &Path) -> Result<Vec<(String, String)>, Failure> {
    let pair = |line: &String| {
        let (run, step) = line.split_once(' ')?;
        Some((run.to_owned(), step.to_owned()))
    };
    Ok(lines(&effects_file(folder))?
        .iter()
        .filter_map(pair)
        .collect())
}

/// Five steps that each write their own line; one leaves a file, which makes its commit a
/// transaction with a snapshot.
fn commands(effects: &Path) -> Result<Workflow, Failure> {
    let mut builder = Workflow::builder(COMMANDS).queue(COMMANDS);
    for number in 1..=5 {
        let keep = if number == 3 {
            "echo kept > kept; "
        } else {
            ""
        };
        let shell = format!(
            "{keep}sleep 0.1; echo \"$SUREFOOT_RUN $SUREFOOT_STEP\" >> \"$EFFECTS\"; sleep 0.1"
        );
        let with = json!({ "shell": shell, "env": { "EFFECTS": effects } });
        builder = builder.step_with(format!("s{number}"), "command.run", |step| step.with(with));
    }
    let wrong = |error| Failure::usage(format!("the workflow {COMMANDS}: {error}"));
    builder.build().map_err(wrong)
}
