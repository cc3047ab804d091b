//! Workers that are killed or told to stop.

use std::time::Duration;

use rustix::process::Signal;
use surefoot::Timestamp;

use super::super::ledger::What;
use super::super::sabotage::{Act, Sabotage};
use super::super::scene::{Injected, SOON, Scene};
use super::super::workers::Worker;
use crate::errors::Failure;

/// Once, some seconds in.
pub(super) async fn once(scene: &mut Scene) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    kill(scene, &mut crew, &mut injected).await?;
    Ok(Injected { crew, ..injected })
}

/// Again as soon as the next one has begun a step.
pub(super) async fn twice(scene: &mut Scene) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    kill(scene, &mut crew, &mut injected).await?;
    let (next, seen) = (crew.last().map(Worker::id), scene.lines()?.len());
    scene.until_line("the next worker to begin", seen, |line| Some(line.pid) == next).await?;
    let last = crew.remove(crew.len() - 1);
    kill_this(scene, last, &mut crew, &mut injected).await?;
    Ok(Injected { crew, ..injected })
}

/// When a worker is killed.
enum Moment {
    /// As it starts.
    Starting,
    /// So long after it began this step.
    During(&'static str, Duration),
    /// By itself, when this step's handler has done its work and nobody has written that down.
    Done(&'static str),
    /// Right after a handler has returned: before, in or after the commit.
    Between,
}

const MOMENTS: [Moment; 6] = [
    Moment::Done("create_repository"),
    Moment::Starting,
    Moment::During("push_template", Duration::from_millis(150)),
    Moment::Between,
    Moment::Done("setup_gitops"),
    Moment::During("finalize", Duration::from_millis(20)),
];

/// At six moments that are as awkward as can be.
pub(super) async fn anywhere(scene: &mut Scene) -> Result<Injected, Failure> {
    let mut crew = vec![scene.worker()?];
    if !scene.is_embedded() {
        crew.push(scene.worker()?);
    }
    let mut injected = Injected::default();
    for moment in &MOMENTS {
        at(scene, moment, &mut crew, &mut injected).await?;
    }
    Ok(Injected { crew, ..injected })
}

async fn at(
    scene: &mut Scene,
    moment: &Moment,
    crew: &mut Vec<Worker>,
    injected: &mut Injected,
) -> Result<(), Failure> {
    let seen = scene.lines()?.len();
    match moment {
        Moment::Done(step) => {
            scene.sabotage(&[Sabotage { once: Some((*step).to_owned()), ..Sabotage::of(step, Act::Die) }])?;
            let (pid, gone) = died(scene, crew).await?;
            let running = scene.held(pid).await;
            injected.breaks.push(scene.replace(crew, gone, running)?);
            return Ok(());
        }
        Moment::Starting => tokio::time::sleep(Duration::from_millis(20)).await,
        Moment::During(step, delay) => {
            scene.until_line(step, seen, |line| line.what == What::Begin && line.step == *step).await?;
            tokio::time::sleep(*delay).await;
        }
        Moment::Between => drop(scene.until_line("a step to end", seen, |line| line.what == What::End).await?),
    }
    match moment {
        Moment::Starting => {
            let last = crew.remove(crew.len() - 1);
            kill_this(scene, last, crew, injected).await
        }
        _ => kill(scene, crew, injected).await,
    }
}

/// Waits until one of the crew has killed itself.
async fn died(scene: &Scene, crew: &mut Vec<Worker>) -> Result<(u32, Timestamp), Failure> {
    let index =
        scene.until("a worker to kill itself", SOON, async || Ok(crew.iter_mut().position(Worker::has_ended))).await?;
    let gone = scene.now();
    Ok((crew.remove(index).id(), gone))
}

async fn kill(scene: &mut Scene, crew: &mut Vec<Worker>, injected: &mut Injected) -> Result<(), Failure> {
    let victim = scene.busiest(crew).await?;
    kill_this(scene, victim, crew, injected).await
}

async fn kill_this(
    scene: &mut Scene,
    victim: Worker,
    crew: &mut Vec<Worker>,
    injected: &mut Injected,
) -> Result<(), Failure> {
    let (pid, gone) = (victim.id(), scene.now());
    victim.kill().await?;
    let running = scene.held(pid).await;
    injected.breaks.push(scene.replace(crew, gone, running)?);
    Ok(())
}

/// Told to stop: it hands back what it holds, and says with its exit status that this was no failure.
pub(super) async fn terminated(scene: &mut Scene) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    let mut told = scene.busiest(&mut crew).await?;
    let running = scene.held(told.id()).await;
    let at = scene.now();
    told.signal(Signal::TERM)?;
    let status = told.ended(SOON).await?;
    let took = scene.now().since(at);
    injected.notes.push(format!("it took {:.1} s to hand back what it held", took.as_secs_f64()));
    if !status.success() {
        injected.wrong.push(format!("a worker that was told to stop ended with {status}"));
    }
    let left = scene.held(told.id()).await.len();
    if left > 0 {
        injected.wrong.push(format!("{left} runs were left to their lease"));
    }
    injected.breaks.push(scene.replace(&mut crew, at, running)?);
    Ok(Injected { crew, ..injected })
}
