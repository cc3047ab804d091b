//! Why a run is not running: what people ask of a run that stands still.

use std::fmt;

use crate::state::{RunStatus, StepState};
use crate::store::{RunFilter, WorkerInfo};
use crate::{QueueInfo, Rate, Run, Store, StoreError, Timestamp};

/// Reason why a run waits; with several, the one that lasts longest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// A person answers this step.
    Answer {
        /// The step.
        step: String,
        /// Text of the question.
        question: Option<String>,
    },
    /// The queue is paused, until a person resumes it.
    Paused {
        /// The queue.
        queue: String,
    },
    /// A surefoot that can read the run.
    Unreadable {
        /// The part that cannot be read.
        reason: String,
    },
    /// No worker is alive.
    NoWorker,
    /// Workers are alive, and none permits the workflow.
    NotPermitted {
        /// The workflow.
        workflow: String,
    },
    /// Workers are alive, and none reads plans as new as the run's.
    NewerPlan {
        /// The format of its plan.
        format: u32,
        /// The newest format that a live worker reads.
        newest: u32,
    },
    /// Workers are alive that permit the workflow, and none knows and permits all actions of the
    /// run.
    UnknownActions {
        /// Actions that no such worker knows and permits; empty when they know all among them, but
        /// no single one does.
        actions: Vec<String>,
    },
    /// Workers are alive that know its actions, and none offers all that the run requires.
    MissingResources {
        /// Resources that no such worker offers; empty when they offer all among them, but no
        /// single one does.
        resources: Vec<String>,
        /// Each of these workers, and what it lacks.
        lacking: Vec<Lacking>,
    },
    /// A time: the start was delayed, a step sleeps, or an attempt is to follow.
    Until(Timestamp),
    /// Something that a step needs and that is unavailable.
    Unavailable {
        /// The step.
        step: String,
        /// The unavailable thing: `api.example.org: rate limit exceeded`.
        reason: String,
        /// When it is tried again.
        until: Timestamp,
    },
    /// The queue has as many running as it may.
    Concurrency {
        /// The queue.
        queue: String,
        /// Its limit of running runs.
        limit: u32,
    },
    /// The queue has as many with the run's concurrency key running as it may.
    ConcurrencyOfKey {
        /// The queue.
        queue: String,
        /// The key.
        key: String,
        /// Its limit of running runs.
        limit: u32,
    },
    /// Its turn: others go before it, the queue's rate holds it back, or a worker is about to take
    /// it.
    Turn {
        /// The queue.
        queue: String,
        /// Number of runs that wait in it.
        queued: u64,
        /// The queue's rate, which may be what holds it back.
        rate: Option<Rate>,
    },
}

/// A live worker that knows the actions of a run, and the resources for want of which it cannot
/// take the run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// The worker's name.
    pub worker: String,
    /// Required resources that it does not offer.
    pub resources: Vec<String>,
}

impl Waiting {
    /// The workers that could take the run but for a resource; none unless it waits for resources.
    pub fn lacking(&self) -> &[Lacking] {
        match self {
            Self::MissingResources { lacking, .. } => lacking,
            _ => &[],
        }
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer {
                step,
                question: Some(question),
            } => write!(f, "for an answer to step {step}: {question}"),
            Self::Answer {
                step,
                question: None,
            } => write!(f, "for an answer to step {step}"),
            Self::Paused { queue } => write!(f, "for queue {queue} to be resumed: it is paused"),
            Self::Unreadable { reason } => write!(f, "for a surefoot that can read it: {reason}"),
            Self::NoWorker => f.write_str("for a worker: none is alive"),
            Self::NewerPlan { format, newest } => write!(
                f,
                "for a worker that reads plans of format {format}: the live ones read up to {newest}"
            ),
            Self::NotPermitted { workflow } => {
                write!(
                    f,
                    "for a worker that permits workflow {workflow}: no live one does"
                )
            }
            Self::UnknownActions { actions } if actions.is_empty() => f.write_str(
                "for a worker that knows and permits all its actions: each live one lacks some",
            ),
            Self::UnknownActions { actions } => {
                write!(
                    f,
                    "for a worker that knows and permits {}: no live one does",
                    actions.join(", ")
                )
            }
            Self::MissingResources { resources, .. } if resources.is_empty() => f.write_str(
                "for a worker that has all the resources it requires: each live one lacks some",
            ),
            Self::MissingResources { resources, .. } => {
                write!(
                    f,
                    "for a worker that has {}: no live one does",
                    resources.join(", ")
                )
            }
            Self::Until(at) => write!(f, "until {at}"),
            Self::Unavailable {
                step,
                reason,
                until,
            } => write!(f, "for {reason} (step {step}), until {until}"),
            Self::Concurrency { queue, limit } => {
                write!(f, "for room in queue {queue}, which runs {limit} at once")
            }
            Self::ConcurrencyOfKey { queue, key, limit } => {
                write!(
                    f,
                    "for room in queue {queue}, which runs {limit} of {key} at once"
                )
            }
            Self::Turn {
                queue,
                queued,
                rate: Some(Rate { max, per }),
            } => {
                let per = crate::format_duration(*per);
                write!(
                    f,
                    "for its turn in queue {queue}, where {queued} wait and {max} start in {per}"
                )
            }
            Self::Turn {
                queue,
                queued,
                rate: None,
            } => write!(f, "for its turn in queue {queue}, where {queued} wait"),
        }
    }
}

/// Returns what `run`, as it was read, waits for; `None` if it is running or has ended.
pub(crate) async fn waiting(store: &dyn Store, run: &Run) -> Result<Option<Waiting>, StoreError> {
    if !run.head.status.is_ended()
        && let Some(reason) = run.unreadable.clone()
    {
        return Ok(Some(Waiting::Unreadable { reason }));
    }
    if !matches!(run.head.status, RunStatus::Queued | RunStatus::Waiting) {
        return Ok(None);
    }
    if let Some(answer) = answer(run) {
        return Ok(Some(answer));
    }
    let cancelling = run.head.cancel.is_some();
    let queue = store
        .queues()
        .await?
        .into_iter()
        .find(|queue| queue.name == run.queue());
    if let Some(queue) = queue.as_ref().filter(|queue| queue.paused && !cancelling) {
        return Ok(Some(Waiting::Paused {
            queue: queue.name.clone(),
        }));
    }
    if let Some(at) = run.head.available_at.filter(|at| *at > store.now()) {
        return Ok(Some(unavailable(run, at).unwrap_or(Waiting::Until(at))));
    }
    if let Some(wanting) = Waiting::without_worker(run, &store.workers().await?) {
        return Ok(Some(wanting));
    }
    match queue {
        Some(queue) if !cancelling => limit(store, run, queue).await.map(Some),
        _ => Ok(Some(Waiting::Turn {
            queue: run.queue().to_owned(),
            queued: 1,
            rate: None,
        })),
    }
}

fn answer(run: &Run) -> Option<Waiting> {
    let (position, _) = run.asks()?;
    let step = run.plan.steps()[position].id.clone();
    Some(Waiting::Answer {
        step,
        question: run.steps[position].message.clone(),
    })
}

/// The reason for which a deferred step waits until `until`.
fn unavailable(run: &Run, until: Timestamp) -> Option<Waiting> {
    let reasons = run
        .plan
        .steps()
        .iter()
        .zip(run.steps.iter().map(StepState::deferred_for));
    let (step, reason) = reasons
        .into_iter()
        .find_map(|(plan, reason)| Some((plan.id.clone(), reason?.to_owned())))?;
    Some(Waiting::Unavailable {
        step,
        reason,
        until,
    })
}

impl Waiting {
    /// Reason for which none of `workers`, which are alive, can take the run; `None` when one can.
    pub fn without_worker(run: &Run, workers: &[WorkerInfo]) -> Option<Self> {
        if workers.is_empty() {
            return Some(Self::NoWorker);
        }
        let format = run.plan.format();
        let newest = workers.iter().map(|worker| worker.plan_format).max();
        if let Some(newest) = newest
            && newest < format
        {
            return Some(Self::NewerPlan { format, newest });
        }
        let permitting: Vec<&WorkerInfo> = workers
            .iter()
            .filter(|worker| worker.plan_format >= format)
            .filter(|worker| worker.workflows.permits(run.plan.name()))
            .collect();
        if permitting.is_empty() {
            return Some(Self::NotPermitted {
                workflow: run.plan.name().to_owned(),
            });
        }
        let able: Vec<&WorkerInfo> = permitting
            .iter()
            .copied()
            .filter(|worker| run.plan.is_known_by(&worker.actions))
            .collect();
        if able
            .iter()
            .any(|worker| run.requires.is_subset(&worker.resources))
        {
            return None;
        }
        if !able.is_empty() {
            let missing =
                |name: &&String| !able.iter().any(|worker| worker.resources.contains(*name));
            let lacking = |worker: &WorkerInfo| Lacking {
                worker: worker.name.clone(),
                resources: run
                    .requires
                    .difference(&worker.resources)
                    .cloned()
                    .collect(),
            };
            return Some(Self::MissingResources {
                resources: run.requires.iter().filter(missing).cloned().collect(),
                lacking: able.into_iter().map(lacking).collect(),
            });
        }
        let unknown = |action: &&&str| {
            !permitting
                .iter()
                .any(|worker| worker.actions.contains(**action))
        };
        let actions = run
            .plan
            .actions()
            .iter()
            .filter(unknown)
            .map(|action| (*action).to_owned())
            .collect();
        Some(Self::UnknownActions { actions })
    }
}

async fn limit(store: &dyn Store, run: &Run, queue: QueueInfo) -> Result<Waiting, StoreError> {
    let QueueInfo {
        name: queue,
        limits,
        queued,
        running,
        ..
    } = queue;
    if let Some(limit) = limits
        .concurrency
        .filter(|limit| running >= u64::from(*limit))
    {
        return Ok(Waiting::Concurrency { queue, limit });
    }
    if let (Some(limit), Some(key)) = (limits.concurrency_per_key, &run.concurrency_key) {
        let status = Some(RunStatus::Running);
        let here = RunFilter {
            status,
            queue: Some(queue.clone()),
            limit: 1000,
            ..RunFilter::default()
        };
        let running = store.runs(here).await?;
        if running
            .iter()
            .filter(|other| other.concurrency_key.as_ref() == Some(key))
            .count()
            >= limit as usize
        {
            return Ok(Waiting::ConcurrencyOfKey {
                queue,
                key: key.clone(),
                limit,
            });
        }
    }
    Ok(Waiting::Turn {
        queue,
        queued,
        rate: limits.rate,
    })
}
