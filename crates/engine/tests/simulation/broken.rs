//! Stores and engines that break a promise, so that it can be shown that the simulation sees it.

use surefoot::state::{Lease, Transition, Wait};
use surefoot::store::{
    ClaimRequest, Claimed, Committed, Heartbeats, LastHeartbeat, Submission, Submitted,
};
use surefoot::{QueueLimits, RecordChange, Run, RunStatus, StepStatus, Store, StoreError};

use crate::history::lock;
use crate::world::World;

/// Deliberate faults of the store, which the checks must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The store accepts writes under earlier leases.
    TakesOldLeases,
    /// The runs of the dead are never taken up.
    NeverReclaims,
    /// A worker that lives is taken for dead.
    ReclaimsFromTheLiving,
    /// An interrupted attempt counts as a failed one.
    CountsInterruptions,
    /// A run that is held is given to another worker as well.
    GivesTwice,
    /// A completed step is forgotten when the run is taken up again.
    ForgetsSteps,
    /// A submission is acknowledged and not written.
    LosesSubmissions,
    /// A commit's events are not written.
    LosesEvents,
    /// A commit's records are not written.
    LosesRecords,
    /// The limits of queues are not looked at.
    IgnoresLimits,
    /// Runs are given to workers that do not know their actions.
    IgnoresActions,
    /// The engine does not hear that its lease is lost.
    IgnoresLostLeases,
    /// A commit whose answer was lost is written again.
    WritesTwice,
    /// A commit that was given up takes place later all the same.
    WritesLate,
    /// A worker is dead as soon as its lease has run out by the store's clock.
    BelievesClockSetForward,
    /// A worker is not dead before its lease has run out by the store's clock.
    BelievesClockSetBack,
    /// A connection that was given up is used again.
    KeepsSilentConnections,
}

impl Broken {
    /// Returns true if commits are written regardless of their predecessor.
    pub(crate) fn takes_any_number(self) -> bool {
        matches!(self, Self::WritesTwice | Self::WritesLate)
    }

    pub(crate) async fn commit(
        self,
        world: &World,
        lease: Lease,
        mut transition: Transition,
    ) -> Result<Committed, StoreError> {
        match self {
            Self::LosesEvents if transition.events.len() > 1 => drop(transition.events.pop()),
            Self::LosesRecords => transition
                .records
                .retain(|change| matches!(change, RecordChange::Remove { .. })),
            Self::WritesTwice | Self::WritesLate => {
                let last = lock(&world.seen)
                    .row(lease.run)
                    .map_or(0, |run| run.head.commits);
                transition.head.commits = last + 1;
            }
            _ => {}
        }
        let committed = world.store.commit(lease, transition.clone()).await;
        if self == Self::TakesOldLeases
            && matches!(committed, Err(StoreError::LeaseLost))
            && let Some(current) = world
                .store
                .run(lease.run)
                .await?
                .and_then(|run| run.lease())
        {
            return world.store.commit(current, transition).await;
        }
        committed
    }

    /// A store that takes runs from the living always has something to take.
    pub(crate) async fn heartbeats(self, world: &World) -> Result<Heartbeats, StoreError> {
        let found = world.store.heartbeats().await?;
        let takes_more = match self {
            Self::ReclaimsFromTheLiving => true,
            Self::BelievesClockSetForward => {
                found.workers.iter().any(|one| has_run_out(world, one))
            }
            _ => false,
        };
        Ok(Heartbeats {
            has_orphans: found.has_orphans || takes_more,
            ..found
        })
    }

    pub(crate) async fn reclaim(
        self,
        world: &World,
        mut silent: Vec<LastHeartbeat>,
    ) -> Result<Vec<Run>, StoreError> {
        match self {
            Self::NeverReclaims => Ok(Vec::new()),
            Self::BelievesClockSetForward => {
                let all = world.store.heartbeats().await?.workers;
                silent.extend(all.into_iter().filter(|one| has_run_out(world, one)));
                world.store.reclaim(silent).await
            }
            Self::BelievesClockSetBack => {
                silent.retain(|one| has_run_out(world, one));
                world.store.reclaim(silent).await
            }
            Self::ReclaimsFromTheLiving => {
                let victim = lock(&world.seen).rows().find_map(|run| run.head.worker);
                let Some(victim) = victim else {
                    return world.store.reclaim(silent).await;
                };
                let held = lock(&world.seen).held_by(victim);
                world.store.deregister_worker(victim).await?;
                let mut taken = Vec::new();
                for run in held {
                    taken.extend(world.store.run(run).await?);
                }
                Ok(taken)
            }
            _ => world.store.reclaim(silent).await,
        }
    }

    pub(crate) async fn submit(
        self,
        world: &World,
        submission: Submission,
    ) -> Result<Submitted, StoreError> {
        if self == Self::LosesSubmissions && lock(&world.seen).runs.len() % 5 == 4 {
            return Ok(Submitted::Queued);
        }
        world.store.submit(submission).await
    }

    pub(crate) async fn claim(
        self,
        world: &World,
        mut request: ClaimRequest,
    ) -> Result<Claimed, StoreError> {
        match self {
            Self::IgnoresActions => {
                request.actions = std::sync::Arc::new(crate::actor::all_actions());
                world.store.claim(request).await
            }
            Self::IgnoresLimits => claim_without_limits(world, request).await,
            Self::GivesTwice => {
                let mut claimed = world.store.claim(request.clone()).await?;
                let held = lock(&world.seen)
                    .rows()
                    .find(|run| run.head.worker.is_some())
                    .cloned();
                claimed
                    .runs
                    .extend(held.filter(|run| claimed.runs.iter().all(|other| other.id != run.id)));
                Ok(claimed)
            }
            Self::CountsInterruptions | Self::ForgetsSteps => {
                let mut claimed = world.store.claim(request).await?;
                for run in &mut claimed.runs {
                    self.falsify(run);
                }
                Ok(claimed)
            }
            _ => world.store.claim(request).await,
        }
    }

    fn falsify(self, run: &mut Run) {
        if run.head.cancel.is_some() {
            return;
        }
        for step in &mut run.steps {
            match (self, step.status) {
                (Self::CountsInterruptions, _) if step.wait == Some(Wait::Worker) => {
                    step.wait = Some(Wait::Retry)
                }
                (Self::ForgetsSteps, StepStatus::Completed)
                    if run.head.status == RunStatus::Running =>
                {
                    *step = surefoot::state::StepState::pending();
                }
                _ => {}
            }
        }
    }
}

/// Returns whether the lease of a heartbeat is over by the store's clock.
fn has_run_out(world: &World, heartbeat: &LastHeartbeat) -> bool {
    heartbeat.at + heartbeat.lease < world.now()
}

async fn claim_without_limits(world: &World, request: ClaimRequest) -> Result<Claimed, StoreError> {
    let queues: Vec<(String, QueueLimits)> = lock(&world.seen)
        .queues
        .iter()
        .map(|(name, queue)| (name.clone(), queue.limits.clone()))
        .collect();
    for (name, _) in &queues {
        world
            .store
            .set_queue(name, QueueLimits::default(), false)
            .await?;
    }
    let claimed = world.store.claim(request).await;
    for (name, limits) in queues {
        world.store.set_queue(&name, limits, false).await?;
    }
    claimed
}
