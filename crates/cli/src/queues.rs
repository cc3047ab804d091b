//! Limits that queues are given: the shipped ones when a queue is new, and those of the
//! configuration file.

use surefoot::{QueueLimits, Store};

use crate::args::Limits;
use crate::config::Settings;
use crate::errors::Failure;
use crate::limits;
use crate::shipped;

/// Gives the shipped queue its limits, if it is new, and every queue of the configuration file its
/// own.
pub(crate) async fn configure(store: &dyn Store, settings: &Settings) -> Result<(), Failure> {
    let known = store.queues().await?;
    if !known.iter().any(|queue| queue.name == shipped::QUEUE) {
        store
            .set_queue(shipped::QUEUE, shipped::limits(), true)
            .await?;
    }
    for (name, limits) in &settings.queues {
        change(store, name, limits).await?;
    }
    Ok(())
}

/// Changes the limits of a queue that are named, and writes only when that makes a difference.
pub(crate) async fn change(store: &dyn Store, name: &str, change: &Limits) -> Result<(), Failure> {
    let known = store
        .queues()
        .await?
        .into_iter()
        .find(|queue| queue.name == name);
    let fresh = || {
        if name == shipped::QUEUE {
            shipped::limits()
        } else {
            QueueLimits::default()
        }
    };
    let before = known.as_ref().map(|queue| queue.limits.clone());
    let mut after = before.clone().unwrap_or_else(fresh);
    limits::apply(change, &mut after)?;
    if before.as_ref() != Some(&after) {
        store.set_queue(name, after, false).await?;
    }
    Ok(())
}
