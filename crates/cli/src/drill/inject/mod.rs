//! Making things go wrong: one file a family of faults.

mod clock;
mod database;
mod disk;
mod failing;
mod frozen;
mod killed;
mod silent;

use std::time::Duration;

use surefoot_scratch_postgres::Stop;

pub(super) use disk::small_disk;

use super::faults::Fault;
use super::scene::{Injected, Scene};
use crate::errors::Failure;

/// Result of a fault.
pub(super) enum Came {
    /// It took place.
    Of(Box<Injected>),
    /// It cannot be had here, and why.
    Skipped(String),
}

impl From<Injected> for Came {
    fn from(injected: Injected) -> Self {
        Self::Of(Box::new(injected))
    }
}

/// Makes it go wrong on a scene whose projects wait for a worker.
pub(super) async fn inject(scene: &mut Scene, fault: Fault) -> Result<Came, Failure> {
    Ok(match fault {
        Fault::WorkerKilled => killed::once(scene).await?.into(),
        Fault::WorkerRestarted => killed::restarted(scene).await?,
        Fault::WorkerKilledTwice => killed::twice(scene).await?.into(),
        Fault::WorkerKilledAnywhere => killed::anywhere(scene).await?.into(),
        Fault::SecondHost => killed::beside_a_second_host(scene).await?,
        Fault::WorkerTerminated => killed::terminated(scene).await?.into(),
        Fault::WorkerFrozen => frozen::frozen(scene, false).await?.into(),
        Fault::WorkerFrozenError => frozen::frozen(scene, true).await?.into(),
        Fault::StepFails => failing::always(scene).await?.into(),
        Fault::StepFailsTwice => failing::twice(scene).await?.into(),
        Fault::DiskFull => disk::full(scene).await?,
        Fault::DatabaseRefuses => database::refuses(scene).await?,
        Fault::SubmitWhileAway => database::submit(scene).await?,
        Fault::DatabaseRestarted => database::away(scene, Stop::Fast, Duration::ZERO).await?,
        Fault::DatabaseKilled => database::away(scene, Stop::Kill, Duration::ZERO).await?,
        Fault::ClockForward => clock::step(scene, clock::HOUR).await?,
        Fault::ClockBack => clock::step(scene, -clock::HOUR).await?,
        Fault::SilentConnection => silent::connections(scene).await?,
        Fault::Failover => database::fail_over(scene).await?,
        Fault::DatabaseAway30s => {
            database::away(scene, Stop::Fast, Duration::from_secs(30)).await?
        }
        Fault::DatabaseAway120s => {
            database::away(scene, Stop::Fast, Duration::from_secs(120)).await?
        }
    })
}
