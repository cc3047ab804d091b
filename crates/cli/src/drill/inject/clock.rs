//! Wall clocks that step, by libfaketime: the database server's, and that of the first worker.

use surefoot::Timestamp;
use surefoot_scratch_postgres::SteppableClock;

use super::super::ground::{Ground, blocking};
use super::super::moves::Break;
use super::super::scene::{Injected, SOON, Scene};
use super::{Came, database};
use crate::errors::Failure;

/// In seconds.
pub(super) const HOUR: i64 = 3_600;

/// Sets the clocks ahead by so many seconds, or back, while projects are under way; they stay so.
pub(super) async fn step(scene: &mut Scene, by: i64) -> Result<Came, Failure> {
    let ground = scene.ground.clone();
    if let Ground::Theirs(_) = ground.as_ref() {
        return Ok(database::not_ours());
    }
    let clock = match SteppableClock::new() {
        Ok(clock) => clock,
        Err(error) => return Ok(Came::Skipped(error.to_string())),
    };
    scene.first_worker = clock.environment();
    let crew = scene.crew().await?;
    scene.note_step(by * 1_000_000);
    blocking(|| clock.set_ahead(by))?;
    if let Ground::Own(server) = ground.as_ref() {
        blocking(|| server.set_clock_ahead(by))?;
    }
    follow(scene).await?;
    let breaks = vec![Break {
        back: scene.now(),
        running: database::running(scene).await,
    }];
    let whose = if scene.is_embedded() {
        "the worker, which is the store's,"
    } else {
        "the database server and one of two workers"
    };
    Ok(Injected {
        crew,
        breaks,
        _clock: Some(clock),
        notes: vec![format!("the clock of {whose} was set by {by:+} s")],
        ..Injected::default()
    }
    .into())
}

/// Waits until the store's times and those of the first worker show the step: a clock that did not
/// move would prove nothing.
async fn follow(scene: &Scene) -> Result<(), Failure> {
    scene
        .until("the store's clock to step", SOON, async || {
            let heartbeats = scene.store.heartbeats().await?.workers;
            Ok(heartbeats
                .iter()
                .any(|one| scene.is_stepped(one.at))
                .then_some(()))
        })
        .await?;
    scene
        .until("the worker's clock to step", SOON, async || {
            let lines = scene.lines()?;
            let mut times = lines.iter().map(|line| Timestamp::from_micros(line.at));
            Ok(times.any(|at| scene.is_stepped(at)).then_some(()))
        })
        .await
}
