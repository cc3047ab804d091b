//! Notes above a run's timeline: questions, what the run waits for, and recoveries.

use serde::Serialize;
use surefoot::state::Wait;
use surefoot::{Lacking, Waiting, format_duration};

use super::Subject;
use crate::dashboard::size_budget::SizeBudget;
use crate::dashboard::step_timeline::Recovery;
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

/// Size limit of a question.
const MAX_QUESTION_SIZE: usize = 8000;
/// Number of recoveries shown, the last ones.
const SHOWN_RECOVERIES: usize = 3;
/// Number of workers whose missing resources are shown one by one.
const SHOWN_LACKING: usize = 5;

impl Subject<'_> {
    pub(super) fn questions(&self, budget: &mut SizeBudget) -> Vec<Question> {
        if self.run.head.cancel.is_some() || self.run.head.status.is_ended() {
            return Vec::new();
        }
        self.run
            .asks()
            .into_iter()
            .filter_map(|(position, wait)| {
                let plan = &self.run.plan.steps()[position];
                let state = &self.run.steps[position];
                let (kind, text, choices): (_, _, &[&str]) = match wait {
                    Wait::Approval => (
                        "approval",
                        state.message.clone().unwrap_or_default(),
                        &["approve", "reject"],
                    ),
                    Wait::Interrupted => (
                        "interrupted",
                        self.context.t("answer.interrupted", &[]),
                        &["rerun", "skip", "fail"],
                    ),
                    _ => return None,
                };
                let text = budget.fit_in(MAX_QUESTION_SIZE, text, super::MAX_VALUE_LENGTH);
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

    /// The last recoveries, and the number of earlier ones.
    pub(super) fn recoveries(&self) -> (Vec<RecoveryView>, usize) {
        let all = &self.run_timeline.recoveries;
        let shown = all
            .iter()
            .rev()
            .take(SHOWN_RECOVERIES)
            .map(|recovery| self.recovery(recovery));
        (shown.collect(), all.len().saturating_sub(SHOWN_RECOVERIES))
    }

    fn recovery(&self, recovery: &Recovery) -> RecoveryView {
        let step = recovery.step.map_or_else(
            || self.context.t("recovery.run", &[]),
            |step| self.run.plan.steps()[step].title.clone(),
        );
        let from = self.worker(&recovery.from);
        let to = self.worker(&recovery.to);
        let heard = self.context.moment(recovery.last_event_at).text;
        let at = self.context.moment(recovery.lost).text;
        let reason = first_line(&recovery.reason, 200);
        // The time until the answer was the person's, not Surefoot's.
        let (kind, until, by, answered) = match &recovery.answered {
            Some((answered, by)) => (
                "answered",
                *answered,
                by.clone(),
                self.context.moment(*answered).text,
            ),
            None => ("recovered", recovery.resumed, String::new(), String::new()),
        };
        let after = duration(until.since(recovery.last_event_at));
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
        let title = self.context.t(&format!("recovery.title.{kind}"), &values);
        RecoveryView {
            title,
            detail: self.context.t(&format!("recovery.detail.{kind}"), &values),
        }
    }

    /// The required resources that live workers lack, for the first workers, and the number of
    /// others.
    pub(super) fn lacking(&self, workers: &[Lacking]) -> Vec<String> {
        let line = |worker: &Lacking| {
            let name = first_line(&worker.worker, 100);
            let resources = worker.resources.join(", ");
            self.context.t(
                "waits.lacking",
                &[("worker", &name), ("resources", &resources)],
            )
        };
        let mut lines: Vec<_> = workers.iter().take(SHOWN_LACKING).map(line).collect();
        if workers.len() > SHOWN_LACKING {
            let more = (workers.len() - SHOWN_LACKING).to_string();
            lines.push(self.context.t("waits.lacking_more", &[("count", &more)]));
        }
        lines
    }

    /// The reason why a run waits. Questions are shown separately.
    pub(super) fn waits(&self, waiting: &Waiting) -> Option<String> {
        let t = |key: &str, values: &[(&str, &str)]| Some(self.context.t(key, values));
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
            Waiting::Until(at) => t("waits.until", &[("at", &self.context.moment(*at).text)]),
            Waiting::Unavailable {
                step,
                reason,
                until,
            } => {
                let until = self.context.moment(*until).text;
                let reason = first_line(reason, 200);
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
