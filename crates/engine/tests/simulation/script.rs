//! Workflows drawn at random: what their steps do stands in the steps' `with`, and the one handler
//! plays it.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use surefoot::workflow::{Backoff, OnInterrupt, RetryPolicy, StepBuilder};
use surefoot::{QueueLimits, Rate, Workflow};

use crate::rng::Rng;

/// The action that every worker knows, and the one that only some do.
pub(crate) const COMMON: &str = "common";
pub(crate) const RARE: &str = "rare";

/// The record that many steps want to publish.
pub(crate) const SHARED: &str = "shared";

/// Behaviour of a step.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Script {
    /// Milliseconds of work.
    pub(crate) take: u64,
    /// Into how many parts the work falls; after each it says how far it is.
    pub(crate) parts: u64,
    /// Number of attempts that fail.
    pub(crate) fails: u32,
    /// Result after those.
    pub(crate) end: End,
    /// True if it saves a checkpoint half-way.
    pub(crate) notes: bool,
    /// The record that it publishes.
    pub(crate) record: Option<String>,
    /// Number of undo attempts that fail.
    pub(crate) undo_fails: u32,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) enum End {
    Completes,
    /// Sleeps this many milliseconds first.
    Sleeps(u64),
    /// Asks a person first.
    Asks,
    Fatal,
    Panics,
}

/// A queue with its limits, which stay as they are but for the concurrency.
pub(crate) fn limits(rng: &mut Rng) -> QueueLimits {
    let some = |rng: &mut Rng, most| rng.chance(50).then(|| rng.between(1, most) as u32);
    let rate = rng.chance(40).then(|| Rate {
        max: rng.between(1, 3) as u32,
        per: rng.millis(500, 4_000),
    });
    QueueLimits {
        concurrency: some(rng, 4),
        concurrency_per_key: some(rng, 2),
        rate,
        ..QueueLimits::default()
    }
}

pub(crate) fn workflow(rng: &mut Rng, number: usize, queue: &str) -> Arc<Workflow> {
    let rare = rng.chance(15);
    let mut builder = Workflow::builder(format!("flow-{number}")).queue(queue);
    for step in 1..=rng.between(1, 5) {
        let action = if rare && rng.chance(50) { RARE } else { COMMON };
        let script = script(rng, step);
        builder = builder.step_with(format!("s{step}"), action, |plan| {
            policies(rng, plan.with(script))
        });
    }
    Arc::new(builder.build().expect("what is drawn is well formed"))
}

fn script(rng: &mut Rng, step: u64) -> Script {
    let take = match rng.between(0, 9) {
        0 => 0,
        1..6 => rng.between(1, 400),
        6..9 => rng.between(400, 3_000),
        _ => rng.between(3_000, 9_000),
    };
    let end = match rng.between(0, 19) {
        0 => End::Fatal,
        1 => End::Panics,
        2 | 3 => End::Asks,
        4 | 5 => End::Sleeps(rng.between(1, 8_000)),
        _ => End::Completes,
    };
    let fails = if rng.chance(25) {
        rng.between(1, 4) as u32
    } else {
        0
    };
    let record = rng.chance(30).then(|| match rng.chance(15) {
        true => SHARED.to_owned(),
        false => format!("${{{{ run.id }}}}-{step}"),
    });
    let undo_fails = if rng.chance(20) {
        rng.between(1, 4) as u32
    } else {
        0
    };
    Script {
        take,
        parts: rng.between(1, 4),
        fails,
        end,
        notes: rng.chance(30),
        record,
        undo_fails,
    }
}

fn policies(rng: &mut Rng, plan: StepBuilder) -> StepBuilder {
    let initial = rng.millis(5, 1_500);
    // No jitter: it is drawn from the machine, not from the seed.
    let backoff = Backoff {
        initial,
        factor: rng.between(1, 3) as u32,
        max: Duration::from_secs(5),
        jitter: 0.0,
    };
    let retry = RetryPolicy {
        attempts: rng.between(1, 4) as u32,
        backoff,
    };
    let policies = [
        OnInterrupt::Rerun,
        OnInterrupt::Rerun,
        OnInterrupt::Rerun,
        OnInterrupt::Ask,
        OnInterrupt::Fail,
    ];
    let mut plan = plan
        .retry(retry)
        .on_interrupt(rng.pick(&policies))
        .max_interruptions(rng.between(0, 5) as u32);
    if rng.chance(15) {
        plan = plan.timeout(rng.millis(50, 4_000));
    }
    if rng.chance(10) {
        plan = plan.condition("parameters.all");
    }
    plan.weight(rng.between(1, 5) as u32)
}
