//! People who submit runs, and people who cancel, retry, answer and pause at any moment.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use surefoot::state::{Answer, CancelMode, Wait};
use surefoot::{
    Client, Run, RunId, RunStatus, Store, StoreError, Submit, SubmitError, SubmittedRun, Workflow,
};

use crate::history::lock;
use crate::life::Life;
use crate::link::Link;
use crate::rng::Rng;
use crate::witness::acknowledged;
use crate::world::World;

/// Submits one run, again and again until it is acknowledged, and follows some to their end.
pub(crate) async fn submit(world: Arc<World>, mut rng: Rng, number: usize, plan: Arc<Workflow>) {
    world
        .until_calm_or(rng.millis(0, world.span_millis() * 2 / 3))
        .await;
    let who = format!("user{number}");
    let key = rng.chance(80).then(|| format!("key-{}", rng.between(0, 9)));
    let tenant = rng
        .chance(50)
        .then(|| format!("tenant-{}", rng.between(0, 1)));
    let priority = rng.between(0, 2) as i32 - 1;
    let later = rng.chance(15).then(|| rng.millis(0, 6_000));
    let link = Link::of_person(&world, &who, rng.fork());
    let run = loop {
        let parameters = json!({ "all": number.is_multiple_of(2) });
        let mut submit = Submit::new(plan.clone())
            .parameters(parameters)
            .priority(priority);
        submit = key.iter().fold(submit, |submit, key| submit.key(key));
        submit = tenant
            .iter()
            .fold(submit, |submit, tenant| submit.concurrency_key(tenant));
        submit = later
            .iter()
            .fold(submit, |submit, later| submit.at(world.now() + *later));
        match once(&world, &mut rng, &link, submit).await {
            Some(Ok(submitted)) => {
                acknowledged(&world, submitted.run.id);
                world.history.say(&who, || {
                    format!("has {}", lock(&world.seen).name(submitted.run.id))
                });
                break submitted.run.id;
            }
            Some(Err(SubmitError::KeyConflict { .. })) => return,
            Some(Err(SubmitError::Store(error))) if !error.is_outage() => {
                return world
                    .history
                    .violated(|| format!("7: a submitter is told {error}"));
            }
            _ => tokio::time::sleep(rng.millis(10, 1_000)).await,
        }
    };
    if rng.chance(25) {
        follow(&world, link, run).await;
    }
}

/// On a worker that is alive, or from outside. `None`: the process died under it.
async fn once(
    world: &Arc<World>,
    rng: &mut Rng,
    link: &Arc<dyn Store>,
    submit: Submit,
) -> Option<Result<SubmittedRun, SubmitError>> {
    let clients: Vec<(Client, Arc<Life>)> = lock(&world.clients).values().cloned().collect();
    if clients.is_empty() || rng.chance(40) {
        return Some(Client::new(link.clone()).submit(submit).await);
    }
    let (client, life) = clients[rng.index(clients.len())].clone();
    tokio::select! {
        biased;
        () = life.until_dead() => None,
        submitted = client.submit(submit) => Some(submitted),
    }
}

/// Reads a run's history to its end: no event is missed, and none comes twice.
async fn follow(world: &Arc<World>, link: Arc<dyn Store>, run: RunId) {
    let mut watch = Client::new(link).watch(run, 0);
    let mut seen = 0;
    loop {
        match watch.next().await {
            Ok(Some(event)) => {
                seen += 1;
                world.history.expect(event.seq == seen, || {
                    format!("9: a watcher is given event {} as {seen}", event.seq)
                });
            }
            Ok(None) => break,
            Err(StoreError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(200)).await,
            Err(error) => {
                return world
                    .history
                    .violated(|| format!("9: a watcher is told {error}"));
            }
        }
    }
}

/// A person who meddles until the faults stop.
pub(crate) async fn meddle(world: Arc<World>, mut rng: Rng, number: usize) {
    let who = format!("person{number}");
    let link = Link::of_person(&world, &who, rng.fork());
    let client = Client::new(link.clone());
    let rest = rng.between(500, 8_000);
    while !world.is_calm() {
        world.until_calm_or(rng.millis(1, rest)).await;
        let runs: Vec<Run> = lock(&world.seen).rows().cloned().collect();
        if runs.is_empty() {
            continue;
        }
        let run = &runs[rng.index(runs.len())];
        if rng.chance(15) {
            change_queue(&mut rng, &link, run.queue()).await;
        } else {
            act(&mut rng, &client, run, &who).await;
        }
    }
}

async fn change_queue(rng: &mut Rng, link: &Arc<dyn Store>, queue: &str) {
    let Ok(queues) = link.queues().await else {
        return;
    };
    let Some(info) = queues.into_iter().find(|info| info.name == queue) else {
        return;
    };
    let _ = if rng.chance(60) {
        link.pause_queue(queue, !info.paused).await
    } else {
        let mut limits = info.limits;
        limits.concurrency = rng.chance(60).then(|| rng.between(1, 4) as u32);
        link.set_queue(queue, limits, false).await
    };
}

/// An action that mostly suits the run; the store refuses the rest.
async fn act(rng: &mut Rng, client: &Client, run: &Run, who: &str) {
    let asks = run
        .steps
        .iter()
        .position(|step| matches!(step.wait, Some(Wait::Approval | Wait::Interrupted)));
    let any = &run.plan.steps()[rng.index(run.steps.len())].id;
    let _ = match rng.between(0, 9) {
        0 => client.cancel(run.id, CancelMode::Stop, who).await,
        1 | 2 => client.cancel(run.id, CancelMode::Undo, who).await,
        3..6 if asks.is_none() => {
            let from = rng.chance(50).then_some(any.as_str());
            client.retry(run.id, from, who).await
        }
        _ => match asks {
            Some(step) => answer(rng, client, run, step, who).await,
            None => client.answer(run.id, any, Answer::Rerun, who, None).await,
        },
    };
}

async fn answer(
    rng: &mut Rng,
    client: &Client,
    run: &Run,
    step: usize,
    who: &str,
) -> Result<Run, StoreError> {
    let answers = match run.steps[step].wait {
        Some(Wait::Approval) => [Answer::Approve, Answer::Approve, Answer::Reject],
        _ => [Answer::Rerun, Answer::Skip, Answer::Fail],
    };
    client
        .answer(
            run.id,
            &run.plan.steps()[step].id,
            rng.pick(&answers),
            who,
            None,
        )
        .await
}

/// Answers everything that asks.
pub(crate) async fn answer_all(world: &Arc<World>, rng: &mut Rng, client: &Client) {
    let asks = |run: &Run| {
        let step = run
            .steps
            .iter()
            .position(|step| matches!(step.wait, Some(Wait::Approval | Wait::Interrupted)))?;
        (run.head.status == RunStatus::Waiting).then(|| (run.clone(), step))
    };
    let all: Vec<(Run, usize)> = lock(&world.seen).rows().filter_map(asks).collect();
    for (run, step) in all {
        // It may have gone on meanwhile.
        let _ = answer(rng, client, &run, step, "settler").await;
    }
}
