//! Workers that are killed or told to stop.

use std::time::Duration;

use rustix::process::Signal;
use surefoot::Timestamp;

use super::super::ledger::{Line, What};
use super::super::moves::Break;
use super::super::sabotage::{Act, Sabotage};
use super::super::scene::{Injected, ON_THE_SAME_HOST, SOON, Scene};
use super::super::workers::Worker;
use super::Came;
use crate::errors::Failure;
use crate::shipped;

/// Once, some seconds in. Where another worker lives, it takes over, and only then a new one is
/// started: on this host that one would free the runs at once.
pub(super) async fn once(scene: &mut Scene) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    let victim = scene.busiest(&mut crew).await?;
    kill_and_leave(scene, victim, &mut crew, &mut injected).await?;
    Ok(Injected { crew, ..injected })
}

/// Killed and started again at once: its lock says that it is dead, and no lease has to run out.
pub(super) async fn restarted(scene: &mut Scene) -> Result<Came, Failure> {
    if scene.is_embedded() {
        let why = "that is worker-killed here: one worker at a time lives on the store, and is started again at once";
        return Ok(Came::Skipped(why.to_owned()));
    }
    let mut crew = scene.crew().await?;
    let victim = scene.busiest(&mut crew).await?;
    let pid = victim.id();
    let host = victim.host();
    victim.kill().await?;
    let running = scene.held(pid).await;
    crew.push(scene.worker_on(host)?);
    let breaks = vec![Break {
        back: scene.now(),
        running,
    }];
    Ok(Injected {
        crew,
        breaks,
        limit: Some(ON_THE_SAME_HOST),
        ..Injected::default()
    }
    .into())
}

/// And so is the next one as soon as it has begun a step. Where another worker lives, that is who
/// has taken over, as soon as there is a third to take over from it.
pub(super) async fn twice(scene: &mut Scene) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    let victim = scene.busiest(&mut crew).await?;
    kill_and_leave(scene, victim, &mut crew, &mut injected).await?;
    let next = crew.last().map_or(0, Worker::id);
    if scene.is_embedded() {
        scene
            .until_line("the next worker to begin", 0, |line| line.pid == next)
            .await?;
    } else {
        scene
            .until("the next worker to be there", SOON, async || {
                Ok(scene.knows(next).await.then_some(()))
            })
            .await?;
    }
    let victim = scene.busiest(&mut crew).await?;
    kill_and_leave(scene, victim, &mut crew, &mut injected).await?;
    Ok(Injected { crew, ..injected })
}

/// Two hosts, one of which lacks the forge: the worker of the other is killed in each step, and
/// started again on its host. Not one step may begin on the host that lacks it.
pub(super) async fn beside_a_second_host(scene: &mut Scene) -> Result<Came, Failure> {
    if scene.is_embedded() {
        return Ok(Came::Skipped("one host at a time has the store".to_owned()));
    }
    let mut having = scene.worker()?;
    scene
        .until("the first host to be there", SOON, async || {
            Ok(scene.knows(having.id()).await.then_some(()))
        })
        .await?;
    let lacking = scene.worker_without_forge()?;
    scene
        .until("the second host to be there", SOON, async || {
            Ok(scene.knows(lacking.id()).await.then_some(()))
        })
        .await?;
    let mut injected = Injected::default();
    let workflow = shipped::workflow();
    let mut seen = 0;
    for step in workflow.steps() {
        let pid = having.id();
        let host = having.host();
        let begins =
            |line: &Line| line.what == What::Begin && line.step == step.id && line.pid == pid;
        scene.until_line(&step.id, seen, begins).await?;
        having.kill().await?;
        let running = scene.held(pid).await;
        seen = scene.lines()?.len();
        having = scene.worker_on(host)?;
        let back = scene.now();
        // Each gets a step done before the next kill: a step that is interrupted too often fails,
        // as it should.
        for run in &running {
            let is_done = |line: &Line| line.what == What::End && line.run == run.to_string();
            scene
                .until_line("an interrupted step to be done", seen, is_done)
                .await?;
        }
        injected.breaks.push(Break { back, running });
    }
    let strayed = scene
        .lines()?
        .iter()
        .filter(|line| line.what == What::Begin && line.pid == lacking.id())
        .count();
    if strayed > 0 {
        injected.wrong.push(format!(
            "{strayed} steps began on the host without the forge"
        ));
    }
    Ok(Injected {
        crew: vec![having, lacking],
        ..injected
    }
    .into())
}

/// When a worker is killed.
enum Moment {
    /// As it starts.
    Starting,
    /// So long after it began this step.
    During(&'static str, Duration),
    /// By itself, when this step's handler has done its work and before that is committed.
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
    let hit = match moment {
        Moment::Done(step) => {
            scene.sabotage(&[Sabotage {
                once: Some((*step).to_owned()),
                ..Sabotage::of(step, Act::Die)
            }])?;
            let (pid, gone) = died(scene, crew).await?;
            let running = scene.held(pid).await;
            injected.breaks.push(scene.replace(crew, gone, running)?);
            return Ok(());
        }
        Moment::Starting => {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let last = crew.remove(crew.len() - 1);
            return kill_and_replace(scene, last, crew, injected).await;
        }
        Moment::During(step, delay) => {
            let is_it = |line: &Line| line.what == What::Begin && line.step == *step;
            let hit = scene.until_line(step, seen, is_it).await?;
            tokio::time::sleep(*delay).await;
            hit
        }
        Moment::Between => {
            scene
                .until_line("a step to end", seen, |line| line.what == What::End)
                .await?
        }
    };
    // The one that was seen at it, and not the other.
    let Some(index) = crew.iter().position(|worker| worker.id() == hit.pid) else {
        return Err(Failure::store(format!(
            "worker {}, which was to be killed, is gone",
            hit.pid
        )));
    };
    kill_and_replace(scene, crew.remove(index), crew, injected).await
}

/// Waits until one of the crew has killed itself.
async fn died(scene: &Scene, crew: &mut Vec<Worker>) -> Result<(u32, Timestamp), Failure> {
    let index = scene
        .until("a worker to kill itself", SOON, async || {
            Ok(crew.iter_mut().position(Worker::has_ended))
        })
        .await?;
    let gone = scene.now();
    Ok((crew.remove(index).id(), gone))
}

/// Kills it; another is started when the others, if there are any, have taken over.
async fn kill_and_leave(
    scene: &mut Scene,
    victim: Worker,
    crew: &mut Vec<Worker>,
    injected: &mut Injected,
) -> Result<(), Failure> {
    if scene.is_embedded() {
        return kill_and_replace(scene, victim, crew, injected).await;
    }
    let pid = victim.id();
    let back = scene.now();
    victim.kill().await?;
    let stopped = Break {
        back,
        running: scene.held(pid).await,
    };
    scene.until_moved(&stopped).await?;
    injected.breaks.push(stopped);
    crew.push(scene.worker()?);
    Ok(())
}

/// Kills it, and starts another at once.
async fn kill_and_replace(
    scene: &mut Scene,
    victim: Worker,
    crew: &mut Vec<Worker>,
    injected: &mut Injected,
) -> Result<(), Failure> {
    let pid = victim.id();
    let gone = scene.now();
    victim.kill().await?;
    let running = scene.held(pid).await;
    injected.breaks.push(scene.replace(crew, gone, running)?);
    Ok(())
}

/// Told to stop: it hands back what it holds, and says with its exit status that this was no
/// failure.
pub(super) async fn terminated(scene: &mut Scene) -> Result<Injected, Failure> {
    let mut crew = scene.crew().await?;
    let mut injected = Injected::default();
    let mut told = scene.busiest(&mut crew).await?;
    let running = scene.held(told.id()).await;
    let at = scene.now();
    told.signal(Signal::TERM)?;
    let status = told.ended(SOON).await?;
    let took = scene.now().since(at);
    injected.notes.push(format!(
        "it took {:.1} s to hand back what it held",
        took.as_secs_f64()
    ));
    if !status.success() {
        injected.wrong.push(format!(
            "a worker that was told to stop ended with {status}"
        ));
    }
    let left = scene.held(told.id()).await.len();
    if left > 0 {
        injected
            .wrong
            .push(format!("{left} runs were left to their lease"));
    }
    injected.breaks.push(scene.replace(&mut crew, at, running)?);
    Ok(Injected { crew, ..injected })
}
