//! What stands above a run's timeline: questions to people, what it waits for, and how it was recovered.

use serde::Serialize;
use surefoot::state::Wait;
use surefoot::{Lacking, Waiting, format_duration};

use super::Subject;
use crate::dashboard::course::Recovery;
use crate::dashboard::room::Room;
use crate::dashboard::text::{duration, first_line};

#[derive(Serialize)]
pub(super) struct Question {
    step: String,
    title: String,
    kind: &'static str,
    text: String,
    choices: &'static [&'static str],
}

#[derive(Serialize)]
pub(super) struct RecoveryView {
    title: String,
    detail: String,
}

/// Bytes that a question takes at most.
const QUESTION: usize = 8000;
/// Recoveries that are told one by one: the last ones.
const TOLD: usize = 3;
/// Workers whose lack is shown one by one.
const LACKING: usize = 5;

impl Subject<'_> {
    pub(super) fn questions(&self, room: &mut Room) -> Vec<Question> {
        if self.run.head.cancel.is_some() || self.run.head.status.is_ended() {
            return Vec::new();
        }
        self.run
            .asks()
            .into_iter()
            .filter_map(|(position, wait)| {
                let (plan, state) = (&self.run.plan.steps()[position], &self.run.steps[position]);
                let (kind, text, choices): (_, _, &[&str]) = match wait {
                    Wait::Approval => (
                        "approval",
                        state.message.clone().unwrap_or_default(),
                        &["approve", "reject"],
                    ),
                    Wait::Interrupted => (
                        "interrupted",
                        self.visitor.t("answer.interrupted", &[]),
                        &["rerun", "skip", "fail"],
                    ),
                    _ => return None,
                };
                let text = room.fit_in(QUESTION, text, super::LONGEST);
                Some(Question {
                    step: plan.id.clone(),
                    title: plan.title.clone(),
                    kind,
                    text,
                    choices,
                })
            })
            .collect()
    }

    /// The last recoveries, and how many there were before them.
    pub(super) fn recoveries(&self) -> (Vec<RecoveryView>, usize) {
        let all = &self.course.recoveries;
        let told = all
            .iter()
            .rev()
            .take(TOLD)
            .map(|recovery| self.recovery(recovery));
        (told.collect(), all.len().saturating_sub(TOLD))
    }

    fn recovery(&self, recovery: &Recovery) -> RecoveryView {
        let step = recovery.step.map_or_else(
            || self.visitor.t("recovery.run", &[]),
            |step| self.run.plan.steps()[step].title.clone(),
        );
        let (from, to) = (self.worker(&recovery.from), self.worker(&recovery.to));
        let (heard, at) = (
            self.visitor.moment(recovery.heard).text,
            self.visitor.moment(recovery.lost).text,
        );
        let reason = first_line(&recovery.reason, 200);
        // What took long was the person, and not Surefoot.
        let (kind, until, by, answered) = match &recovery.answered {
            Some((answered, by)) => (
                "answered",
                *answered,
                by.clone(),
                self.visitor.moment(*answered).text,
            ),
            None => ("recovered", recovery.resumed, String::new(), String::new()),
        };
        let after = duration(until.since(recovery.heard));
        let values = [
            ("worker", from.as_str()),
            ("after", &after),
            ("heard", &heard),
            ("at", &at),
            ("reason", &reason),
            ("to", &to),
            ("step", &step),
            ("by", &by),
            ("answered", &answered),
        ];
        let title = self.visitor.t(&format!("recovery.title.{kind}"), &values);
        RecoveryView {
            title,
            detail: self.visitor.t(&format!("recovery.detail.{kind}"), &values),
        }
    }

    /// What live workers lack of what the run requires: the first of them, and how many there are
    /// beside.
    pub(super) fn lacking(&self, workers: &[Lacking]) -> Vec<String> {
        let line = |worker: &Lacking| {
            let name = first_line(&worker.worker, 100);
            let resources = worker.resources.join(", ");
            self.visitor.t(
                "waits.lacking",
                &[("worker", &name), ("resources", &resources)],
            )
        };
        let mut lines: Vec<_> = workers.iter().take(LACKING).map(line).collect();
        if workers.len() > LACKING {
            let more = (workers.len() - LACKING).to_string();
            lines.push(self.visitor.t("waits.lacking_more", &[("count", &more)]));
        }
        lines
    }

    /// What a run that stands still waits for; its questions say it themselves.
    pub(super) fn waits(&self, waiting: &Waiting) -> Option<String> {
        let t = |key: &str, values: &[(&str, &str)]| Some(self.visitor.t(key, values));
        match waiting {
            Waiting::Answer { .. } => None,
            Waiting::Paused { queue } => t("waits.paused", &[("queue", queue)]),
            Waiting::Unreadable { reason } => {
                t("waits.unreadable", &[("reason", &first_line(reason, 300))])
            }
            Waiting::NoWorker => t("waits.no_worker", &[]),
            Waiting::NewerPlan { format, newest } => t(
                "waits.newer_plan",
                &[
                    ("format", &format.to_string()),
                    ("newest", &newest.to_string()),
                ],
            ),
            Waiting::NotPermitted { workflow } => {
                t("waits.not_permitted", &[("workflow", workflow)])
            }
            Waiting::UnknownActions { actions } if actions.is_empty() => {
                t("waits.no_single_worker", &[])
            }
            Waiting::UnknownActions { actions } => {
                t("waits.unknown", &[("actions", &actions.join(", "))])
            }
            Waiting::MissingResources { resources, .. } if resources.is_empty() => {
                t("waits.no_single_host", &[])
            }
            Waiting::MissingResources { resources, .. } => {
                t("waits.missing", &[("resources", &resources.join(", "))])
            }
            Waiting::Until(at) => t("waits.until", &[("at", &self.visitor.moment(*at).text)]),
            Waiting::Unavailable {
                step,
                reason,
                until,
            } => {
                let (until, reason) = (self.visitor.moment(*until).text, first_line(reason, 200));
                t(
                    "waits.unavailable",
                    &[("step", step), ("reason", &reason), ("until", &until)],
                )
            }
            Waiting::Concurrency { queue, limit } => t(
                "waits.concurrency",
                &[("queue", queue), ("limit", &limit.to_string())],
            ),
            Waiting::ConcurrencyOfKey { queue, key, limit } => t(
                "waits.per_key",
                &[
                    ("queue", queue),
                    ("key", key),
                    ("limit", &limit.to_string()),
                ],
            ),
            Waiting::Turn {
                queue,
                queued,
                rate: None,
            } => t(
                "waits.turn",
                &[("queue", queue), ("queued", &queued.to_string())],
            ),
            Waiting::Turn {
                queue,
                queued,
                rate: Some(rate),
            } => t(
                "waits.rate",
                &[
                    ("queue", queue),
                    ("queued", &queued.to_string()),
                    ("max", &rate.max.to_string()),
                    ("per", &format_duration(rate.per)),
                ],
            ),
        }
    }
}
