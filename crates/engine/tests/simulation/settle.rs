//! The calm after the faults: everything moves again in the promised time and comes to its end, and
//! then all is consistent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use surefoot::state::CancelMode;
use surefoot::{Client, Run, RunId, RunStatus, StepStatus, Store, Timestamp};
use tokio::task::JoinSet;

use crate::history::lock;
use crate::ledger::Call;
use crate::link::Link;
use crate::node::Alive;
use crate::people;
use crate::rng::Rng;
use crate::script;
use crate::world::{self, World};

/// A heartbeat is seen by a look, and its lease found over by another; calls take a few
/// milliseconds.
const SWEEP: Duration = Duration::from_millis(750);
const SLACK: Duration = Duration::from_millis(500);

/// A poll a second, and its call.
const POLL: Duration = Duration::from_millis(1_500);

/// Longer than anything that a run may wait for by itself, on a clock that was set back.
const STILL: Duration = Duration::from_secs(40).saturating_add(world::BEHIND);

/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

pub(crate) async fn settle(
    world: &Arc<World>,
    rng: &mut Rng,
    alive: Vec<Alive>,
    mut others: JoinSet<()>,
) {
    world.history.say("world", || "is calm".to_owned());
    let calm_at = world.steady();
    let link = Link::of_person(world, "settler", rng.fork());
    let client = Client::new(link.clone());
    let mut writes = 0;
    let mut wrote_at = world.steady();
    let mut waits = Waits::default();
    loop {
        tokio::time::sleep(LOOK).await;
        while others.try_join_next().is_some() {}
        resume_queues(world, &link).await;
        people::answer_all(world, rng, &client).await;
        check_leases(world, calm_at);
        waits.check(world, &alive);
        let now_written = lock(&world.seen).writes;
        if now_written != writes {
            (writes, wrote_at) = (now_written, world.steady());
        }
        if others.is_empty() && all_ended(world) {
            break;
        }
        if world.steady().since(wrote_at) > STILL {
            return world
                .history
                .violated(|| format!("4: nothing moves any more: {}", unfinished(world)));
        }
        if world.steady().since(calm_at) > Duration::from_secs(3_600) {
            return world
                .history
                .violated(|| format!("4: it never ends: {}", unfinished(world)));
        }
    }
    let ended_at = world.steady();
    world.history.say("world", || {
        format!("has settled after {:?}", ended_at.since(calm_at))
    });
    for node in alive {
        node.handle.stop().await;
    }
    check_end(world).await;
}

async fn resume_queues(world: &Arc<World>, link: &Arc<dyn Store>) {
    let paused: Vec<String> = lock(&world.seen)
        .queues
        .iter()
        .filter(|(_, queue)| queue.paused)
        .map(|(name, _)| name.clone())
        .collect();
    for queue in paused {
        // It is calm: it cannot fail.
        let _ = link.pause_queue(&queue, false).await;
    }
}

fn all_ended(world: &World) -> bool {
    lock(&world.seen)
        .rows()
        .all(|run| run.head.status.is_ended())
}

fn unfinished(world: &World) -> String {
    let seen = lock(&world.seen);
    let open = seen.rows().filter(|run| !run.head.status.is_ended());
    let one = |run: &Run| {
        let holder = run
            .head
            .worker
            .map(|worker| format!(" by {}", seen.worker_name(worker)))
            .unwrap_or_default();
        format!("{} is {}{holder}", seen.name(run.id), run.head.status)
    };
    open.map(one).collect::<Vec<_>>().join(", ")
}

/// No dead worker holds a run for longer than a lease and a sweep.
fn check_leases(world: &World, calm_at: Timestamp) {
    let now = world.steady();
    let seen = lock(&world.seen);
    for run in seen.rows() {
        let Some(holder) = run.head.worker.and_then(|worker| seen.workers.get(&worker)) else {
            continue;
        };
        // Observations from before the end of the faults may have been discarded.
        let due = holder.expires_at.max(calm_at + world.lease);
        let late = now.since(due) > SWEEP + SLACK;
        world.history.expect(!late, || {
            format!(
                "4: {} is held by {}, which is dead for {:?}",
                seen.name(run.id),
                holder.name,
                now.since(holder.expires_at)
            )
        });
    }
}

/// Since when a run waits that could be taken.
#[derive(Default)]
struct Waits(BTreeMap<RunId, (u64, Timestamp)>);

impl Waits {
    /// Nothing that can be taken is left lying for longer than a poll takes.
    fn check(&mut self, world: &World, alive: &[Alive]) {
        let now = world.steady();
        let seen = lock(&world.seen);
        for run in seen.rows() {
            if !can_be_taken(&seen, run, alive, world.now()) {
                self.0.remove(&run.id);
                continue;
            }
            let mut seen_as = *self.0.entry(run.id).or_insert((run.head.epoch, now));
            if seen_as.0 != run.head.epoch {
                // Between two looks it was taken, and given back.
                seen_as = (run.head.epoch, now);
                self.0.insert(run.id, seen_as);
            }
            let since = seen_as.1;
            world.history.expect(now.since(since) <= POLL, || {
                format!(
                    "4: {} could be taken for {:?}, and lies there",
                    seen.name(run.id),
                    now.since(since)
                )
            });
        }
    }
}

fn can_be_taken(seen: &crate::seen::Seen, run: &Run, alive: &[Alive], now: Timestamp) -> bool {
    let due = run.head.available_at.is_some_and(|at| at <= now);
    let Some(queue) = seen.queues.get(run.queue()) else {
        return false;
    };
    if !due {
        return false;
    }
    let running = seen.running(run.queue()).count();
    let of_key = seen
        .running(run.queue())
        .filter(|other| other.concurrency_key == run.concurrency_key)
        .count();
    let full =
        |limit: Option<u32>, count: usize| limit.is_some_and(|limit| count >= limit as usize);
    let held_back = queue.paused
        || full(queue.limits.concurrency, running)
        || run.concurrency_key.is_some() && full(queue.limits.concurrency_per_key, of_key)
        || queue.limits.rate.is_some() && run.head.started_at.is_none();
    let rare = run.plan.actions().contains(script::RARE);
    let room = alive
        .iter()
        .any(|node| (node.knows_all || !rare) && node.handle.running() < node.concurrency);
    // A worker holds slots for an isolated step, also when the step is to be undone and the worker
    // has not heard of it yet.
    let limited = |run: &Run| {
        run.steps
            .iter()
            .any(|step| step.isolation_limit().is_some())
    };
    let isolates = seen
        .rows()
        .any(|run| run.head.status == RunStatus::Running && limited(run));
    room && !isolates && (!held_back || run.head.cancel.is_some())
}

/// Every acknowledged run exists, and all stored data are consistent.
async fn check_end(world: &World) {
    let acknowledged = lock(&world.acknowledged).clone();
    for id in acknowledged {
        let there = world.store.run(id).await.is_ok_and(|run| run.is_some());
        world.history.expect(there, || {
            "1: a submission was acknowledged, and its run is not there".to_owned()
        });
    }
    let everything = surefoot::store::RunFilter {
        limit: usize::MAX >> 1,
        ..Default::default()
    };
    for run in world.store.runs(everything).await.unwrap_or_default() {
        check_run(world, &run).await;
    }
    let goes_on = |call: &&Call| call.ended.is_none() && !call.life.is_dead();
    let open = lock(&world.ledger).calls.iter().filter(goes_on).count();
    world.history.expect(open == 0, || {
        format!("3: {open} handlers go on after the end")
    });
}

async fn check_run(world: &World, run: &Run) {
    let name = lock(&world.seen).name(run.id);
    let known = lock(&world.seen).row(run.id) == Some(run);
    world.history.expect(known, || {
        format!("9: {name} was changed by an unknown write")
    });
    world.history.expect(run.head.status.is_ended(), || {
        format!("4: {name} has not ended")
    });
    let events = world
        .store
        .events(run.id, 0, usize::MAX)
        .await
        .unwrap_or_default();
    let gapless = events.iter().zip(1..).all(|(event, seq)| event.seq == seq);
    world
        .history
        .expect(gapless, || format!("9: the history of {name} has a gap"));
    check_records(world, run, &name).await;
    let undone =
        run.head.status == RunStatus::Cancelled && run.head.cancel == Some(CancelMode::Undo);
    world.history.expect(!undone, || {
        format!("6: {name} is cancelled and still to be undone")
    });
}

/// A run that completed has the records of its completed steps.
async fn check_records(world: &World, run: &Run, name: &str) {
    for (position, step) in run.steps.iter().enumerate() {
        // A record that several steps publish is as the last of them left it.
        let own =
            |record: &String| step.status == StepStatus::Completed && record != script::SHARED;
        let Some(record) = world.record_of(run, position).filter(own) else {
            continue;
        };
        let filter = surefoot::store::RecordFilter {
            name: Some(record),
            run: Some(run.id),
            ..Default::default()
        };
        let found = world.store.records(filter).await.unwrap_or_default();
        let call = step.output.as_ref().and_then(|output| output.get("call"));
        let fits = found.len() == 1 && found[0].data.get("call") == call;
        let undone = run.steps.iter().any(|step| step.undo.is_some());
        world.history.expect(fits || undone, || {
            format!(
                "9: step {} of {name} has another output than its record",
                position + 1
            )
        });
    }
}
