//! A worker that is frozen for longer than its lease: when it wakes it is a zombie, and does not know.

use std::time::Duration;

use rustix::process::Signal;

use super::super::ledger::{Line, What};
use super::super::moves::Break;
use super::super::sabotage::{Act, Sabotage};
use super::super::scene::{Injected, SOON, Scene};
use super::super::workers::Worker;
use crate::errors::Failure;

/// Longer than a lease and the sweep that follows.
const FROZEN: Duration = Duration::from_secs(8);

/// Exit status of a worker that finds the store in use.
const IN_USE: i32 = 3;

/// Freezes the worker that holds the most, and wakes it again; with `errors`, each of its steps then has one to report.
pub(super) async fn frozen(scene: &mut Scene, errors: bool) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    let zombie = scene.busiest(&mut crew).await?;
    let frozen_at = scene.now();
    zombie.signal(Signal::STOP)?;
    let running = scene.held(zombie.id()).await;
    let sleep = tokio::time::sleep(FROZEN);
    if scene.is_embedded() {
        second_is_refused(scene, &mut injected).await?;
    }
    if errors {
        scene.sabotage(&errors_of(&scene.lines()?, zombie.id()))?;
    }
    sleep.await;
    let woken_at = scene.now();
    zombie.signal(Signal::CONT)?;
    let back = if scene.is_embedded() { woken_at } else { frozen_at };
    injected.notes.extend(errors.then(|| format!("{} steps had an error to report when it woke", running.len())));
    injected.breaks.push(Break { back, running });
    crew.push(zombie);
    Ok(Injected { crew, ..injected })
}

/// On an embedded store nobody else can take the runs: the frozen worker may wake at any moment, and holds the lock.
async fn second_is_refused(scene: &mut Scene, injected: &mut Injected) -> Result<(), Failure> {
    let mut second: Worker = scene.worker()?;
    let status = second.ended(SOON).await?;
    if status.code() == Some(IN_USE) {
        injected.notes.push("a second worker was refused meanwhile, with exit status 3".to_owned());
    } else {
        injected.wrong.push(format!("a second worker beside the frozen one ended with {status}: {}", second.said()));
    }
    Ok(())
}

/// An error for each step that was under way, once.
fn errors_of(lines: &[Line], pid: u32) -> Vec<Sabotage> {
    let ended = |begun: &Line| lines.iter().any(|line| line.what == What::End && line.key == begun.key);
    let under_way = lines.iter().filter(|line| line.what == What::Begin && line.pid == pid && !ended(line));
    let error = |line: &Line| Sabotage {
        projects: vec![line.project.clone()],
        pid: Some(pid),
        once: Some(format!("{}-{}", line.project, line.step)),
        ..Sabotage::of(&line.step, Act::ours("an error that a frozen worker reports late"))
    };
    under_way.map(error).collect()
}
