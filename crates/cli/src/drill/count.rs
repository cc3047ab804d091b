//! Counting what a fault did: from the ledger, from the repositories, and from the store's own
//! rows; the worst of them counts. Nothing here looks at anything: it is given the evidence, so
//! that tests can give it a doctored one.

use std::collections::{BTreeMap, BTreeSet};

use surefoot::Event;
use surefoot::RunStatus;

use super::ledger::{Line, What};

/// Environments that a project of the drill asks for.
pub(super) const ENVIRONMENTS: usize = 3;

/// Prefixes of the errors that the drill itself causes.
pub(super) const OURS: &str = "the drill: ";

/// All that there is to know when a drill is over.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) projects: Vec<Project>,
    pub(super) ledger: Vec<Line>,
    /// Entries among the repositories that belong to no project.
    pub(super) strays: Vec<String>,
    /// Microseconds that the store's clock is ahead of the ledger's.
    pub(super) skew: i64,
}

/// A project whose submission was acknowledged.
#[derive(Clone, Debug)]
pub(super) struct Project {
    pub(super) name: String,
    /// Its run as the store has it; `None` when the store does not know it.
    pub(super) run: Option<Told>,
    /// Commits in its repository; `None` without a repository.
    pub(super) commits: Option<usize>,
    /// Commits in the fleet repository that speak of it.
    pub(super) fleet_commits: usize,
    /// Kinds of the records that its run owns.
    pub(super) records: Vec<String>,
    /// True if the drill made its step fail.
    pub(super) doomed: bool,
    /// True for a run of the shipped workflow, which makes a repository, records and a commit in
    /// the fleet.
    pub(super) initializes: bool,
}

/// Facts that the store holds about a run.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) status: RunStatus,
    pub(super) error: Option<String>,
    pub(super) steps: usize,
    pub(super) events: Vec<Event>,
}

/// Result of the drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Projects that have not ended, or that the store has forgotten.
    pub(super) stuck: usize,
    /// Times that a step's handler was called after the step's completion was committed.
    pub(super) rerun: usize,
    /// Repositories, commits and records beyond the one of each project.
    pub(super) duplicates: usize,
    /// Projects that failed and were not to.
    pub(super) failed: usize,
    /// Steps that were interrupted and run again: no fault, that is what recovery is.
    pub(super) interrupted: usize,
    /// Everything that is not as promised, in words.
    pub(super) wrong: Vec<String>,
}

/// A worker that had errors to report when its lease was over.
#[derive(Clone, Debug)]
pub(super) struct Late {
    pub(super) pid: u32,
    pub(super) error: String,
    /// True if they count: no other worker could have taken its runs.
    pub(super) counts: bool,
}

impl Late {
    /// Returns true if a line reports such an error.
    pub(super) fn is_told_by(&self, line: &Line) -> bool {
        line.what == What::End && line.pid == self.pid && line.thing.contains(&self.error)
    }
}

/// Number of errors that were reported late, and the broken promises among them.
pub(super) fn late(evidence: &Evidence, late: &Late) -> (usize, Vec<String>) {
    let reported = evidence
        .ledger
        .iter()
        .filter(|line| late.is_told_by(line))
        .collect::<Vec<_>>();
    let mut wrong = Vec::new();
    if reported.is_empty() {
        wrong.push("no step of the woken worker reported its error: nothing is proven".to_owned());
    }
    for line in &reported {
        let run = evidence
            .projects
            .iter()
            .find(|project| project.name == line.project)
            .and_then(|it| it.run.as_ref());
        let is_it = |event: &&Event| {
            let error = event.data["error"].as_str().unwrap_or_default();
            event.step.as_deref() == Some(&line.step) && error.contains(&late.error)
        };
        let counted = run
            .into_iter()
            .flat_map(|run| of_kind(run, "step.retrying"))
            .filter(is_it)
            .count();
        match (late.counts, counted) {
            (true, 0) => wrong.push(format!(
                "{}: the error of {} is not in the store",
                line.project, line.step
            )),
            (false, 1..) => wrong.push(format!(
                "{}: the error of {} was not refused",
                line.project, line.step
            )),
            _ => {}
        }
    }
    (reported.len(), wrong)
}

/// Counts.
pub(super) fn count(evidence: &Evidence) -> Counts {
    let mut counts = Counts {
        duplicates: evidence.strays.len(),
        ..Counts::default()
    };
    counts.wrong.extend(
        evidence
            .strays
            .iter()
            .map(|stray| format!("{stray} belongs to no project")),
    );
    for project in &evidence.projects {
        let lines = evidence
            .ledger
            .iter()
            .filter(|line| line.project == project.name)
            .collect::<Vec<_>>();
        counts.outcome(project);
        counts.reruns(project, &lines, evidence.skew);
        counts.effects(project, &lines);
        counts.keys(project, &lines);
        counts.never_ran(project, &lines);
        counts.attempts(project);
    }
    counts
}

impl Counts {
    /// Returns true if every promise held.
    pub(super) fn are_clean(&self) -> bool {
        self.wrong.is_empty()
            && (self.stuck, self.rerun, self.duplicates, self.failed) == (0, 0, 0, 0)
    }

    fn outcome(&mut self, project: &Project) {
        let name = &project.name;
        let Some(run) = &project.run else {
            self.stuck += 1;
            self.wrong
                .push(format!("{name} was acknowledged and is not in the store"));
            return;
        };
        self.interrupted += of_kind(run, "step.interrupted").count();
        match (run.status, project.doomed) {
            (RunStatus::Completed, false) => self.missing(project, run),
            (RunStatus::Failed, true) if run.error.is_some() => {}
            (RunStatus::Failed, false) => {
                self.failed += 1;
                self.wrong.push(format!(
                    "{name} failed: {}",
                    run.error.as_deref().unwrap_or("without a reason")
                ));
            }
            (status, _) if status.is_ended() => self
                .wrong
                .push(format!("{name} is {status}, which it should not be")),
            (status, _) => {
                self.stuck += 1;
                self.wrong.push(format!("{name} is stuck: {status}"));
            }
        }
    }

    /// A completed project has everything.
    fn missing(&mut self, project: &Project, run: &Told) {
        let completed = of_kind(run, "step.completed")
            .map(|event| &event.step)
            .collect::<BTreeSet<_>>()
            .len();
        let records = (
            kind(project, "project"),
            kind(project, "repository"),
            kind(project, "environment"),
        );
        let has = (
            completed >= run.steps,
            project.commits >= Some(1),
            project.fleet_commits >= 1,
        );
        if !project.initializes {
            if !has.0 {
                self.wrong.push(format!(
                    "{} is completed, and not each of its steps is",
                    project.name
                ));
            }
            return;
        }
        if has != (true, true, true) || records.0 < 1 || records.1 < 1 || records.2 < ENVIRONMENTS {
            self.wrong.push(format!(
                "{} is completed, and not everything that it promises is there",
                project.name
            ));
        }
    }

    /// Neither an interruption nor an outage spends an attempt: only what the drill itself made
    /// fail does.
    fn attempts(&mut self, project: &Project) {
        let retries = project
            .run
            .iter()
            .flat_map(|run| of_kind(run, "step.retrying"));
        for event in retries {
            let error = event.data["error"].as_str().unwrap_or("without a reason");
            if !error.starts_with(OURS) {
                let step = event.step.as_deref().unwrap_or_default();
                self.wrong.push(format!(
                    "{}: {step} spent an attempt: {error}",
                    project.name
                ));
            }
        }
    }

    /// A step that is completed ran.
    fn never_ran(&mut self, project: &Project, lines: &[&Line]) {
        let completed = project
            .run
            .iter()
            .flat_map(|run| of_kind(run, "step.completed"));
        let ran = |step: Option<&str>| lines.iter().any(|line| Some(line.step.as_str()) == step);
        let never = completed.filter(|event| !ran(event.step.as_deref()));
        self.wrong.extend(never.map(|event| {
            format!(
                "{}: {} is completed and never ran",
                project.name,
                event.step.as_deref().unwrap_or_default()
            )
        }));
    }

    fn reruns(&mut self, project: &Project, lines: &[&Line], skew: i64) {
        let Some(run) = &project.run else { return };
        let mut completed: BTreeMap<&str, (i64, usize)> = BTreeMap::new();
        for event in of_kind(run, "step.completed") {
            let at = event.at.as_micros() - skew;
            completed
                .entry(event.step.as_deref().unwrap_or_default())
                .or_insert((at, 0))
                .1 += 1;
        }
        for (step, (at, times)) in completed {
            let begun = lines
                .iter()
                .filter(|line| (line.what, line.step.as_str()) == (What::Begin, step));
            let after = begun.filter(|line| line.at > at).count();
            let reruns = after.max(times - 1);
            if reruns > 0 {
                self.rerun += reruns;
                self.wrong.push(format!(
                    "{}: {step} ran {reruns} times after it was completed",
                    project.name
                ));
            }
        }
    }

    fn effects(&mut self, project: &Project, lines: &[&Line]) {
        let seen = |prefix: &str| {
            let things = lines
                .iter()
                .filter(|line| line.what == What::Effect && line.thing.starts_with(prefix));
            things
                .map(|line| &line.thing)
                .collect::<BTreeSet<_>>()
                .len()
        };
        let found = [
            ("repositories", seen("repository "), 1),
            (
                "first commits",
                seen("commit ").max(project.commits.unwrap_or(0)),
                1,
            ),
            ("commits in the fleet", project.fleet_commits, 1),
            ("project records", kind(project, "project"), 1),
            ("repository records", kind(project, "repository"), 1),
            ("environments", kind(project, "environment"), ENVIRONMENTS),
        ];
        for (what, found, wanted) in found {
            if found > wanted {
                self.duplicates += found - wanted;
                self.wrong
                    .push(format!("{} has {found} {what}", project.name));
            }
        }
    }

    /// Effects are identified by their idempotency key, which is the same for every attempt of a
    /// step.
    fn keys(&mut self, project: &Project, lines: &[&Line]) {
        let mut keys: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
        for line in lines {
            keys.entry((&line.run, &line.step))
                .or_default()
                .insert(&line.key);
        }
        let changed = keys.iter().filter(|(_, keys)| keys.len() > 1);
        self.wrong
            .extend(changed.map(|((_, step), _)| {
                format!("{}: {step} had two idempotency keys", project.name)
            }));
    }
}

fn of_kind<'a>(run: &'a Told, kind: &'a str) -> impl Iterator<Item = &'a Event> {
    run.events.iter().filter(move |event| event.kind == kind)
}

fn kind(project: &Project, kind: &str) -> usize {
    project
        .records
        .iter()
        .filter(|found| *found == kind)
        .count()
}

#[cfg(test)]
mod tests;
