//! A worker that is frozen for longer than its lease: when it wakes it is a zombie, and does not
//! know.

use std::time::Duration;

use rustix::process::Signal;

use super::super::count::Late;
use super::super::moves::Break;
use super::super::sabotage::{self, Act, Sabotage};
use super::super::scene::{Injected, SOON, Scene};
use super::super::workers::Worker;
use crate::errors::Failure;

/// Longer than a lease and the sweep that follows.
const FROZEN: Duration = Duration::from_secs(8);

/// Exit status of a worker that finds the store in use.
const IN_USE: i32 = 3;

/// Time for the resumed worker to report before the evidence is judged.
const REPORTS: Duration = Duration::from_secs(5);

/// Reports of its steps.
const ERROR: &str = "an error that a frozen worker reports late";

/// Freezes the worker that holds the most, and wakes it again; with `errors`, each of its steps
/// then has one to report.
pub(super) async fn frozen(scene: &mut Scene, errors: bool) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    let zombie = scene.busiest(&mut crew).await?;
    if errors {
        about_to_fail(scene, zombie.id()).await?;
    }
    let frozen_at = scene.now();
    zombie.signal(Signal::STOP)?;
    let running = scene.held(zombie.id()).await;
    let sleep = tokio::time::sleep(FROZEN);
    if scene.is_embedded() {
        second_is_refused(scene, &mut injected).await?;
    }
    sleep.await;
    if errors {
        scene.sabotage(&[])?;
        scene.release()?;
    }
    let woken_at = scene.now();
    zombie.signal(Signal::CONT)?;
    let back = if scene.is_embedded() {
        woken_at
    } else {
        frozen_at
    };
    injected.breaks.push(Break { back, running });
    if errors {
        let late = Late {
            pid: zombie.id(),
            error: ERROR.to_owned(),
            counts: scene.is_embedded(),
        };
        let reported = async || {
            Ok(scene
                .lines()?
                .iter()
                .any(|line| late.is_told_by(line))
                .then_some(()))
        };
        // A missing report is detected at the end.
        let _judged_later = scene
            .until("an error to be reported", REPORTS, reported)
            .await;
        injected.late = Some(late);
    }
    crew.push(zombie);
    Ok(Injected { crew, ..injected })
}

/// Waits until every run of a worker stands in a step that has done its work, and fails as soon as
/// it is let.
async fn about_to_fail(scene: &Scene, pid: u32) -> Result<(), Failure> {
    let fails = Act::late(ERROR);
    scene.sabotage(&[Sabotage {
        step: None,
        pid: Some(pid),
        ..Sabotage::of("", fails)
    }])?;
    let all = async || {
        let held = sabotage::held(&scene.folder);
        let runs = scene.held(pid).await.len();
        Ok((held > 0 && held >= runs).then_some(()))
    };
    scene
        .until("every step of the worker to be about to fail", SOON, all)
        .await
}

/// On an embedded store no other worker can take the runs: the frozen one may resume at any time,
/// and holds the lock.
async fn second_is_refused(scene: &mut Scene, injected: &mut Injected) -> Result<(), Failure> {
    let mut second: Worker = scene.worker()?;
    let status = second.ended(SOON).await?;
    if status.code() == Some(IN_USE) {
        injected
            .notes
            .push("a second worker was refused meanwhile, with exit status 3".to_owned());
    } else {
        injected.wrong.push(format!(
            "a second worker beside the frozen one ended with {status}: {}",
            second.said()
        ));
    }
    Ok(())
}
