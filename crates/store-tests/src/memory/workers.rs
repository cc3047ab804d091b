//! Workers: registration, heartbeats and leases.

use surefoot::state::Interruption;
use surefoot::statistics::Outcome;
use surefoot::store::{Heartbeat, Heartbeats, LastHeartbeat, NewWorker, WorkerInfo};
use surefoot::{Run, RunId, StoreError, Timestamp, WorkerId};

use super::state::{State, Worker};

impl State {
    pub(super) fn register(
        &mut self,
        worker: NewWorker,
        plan_format: u32,
        alone: bool,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        if alone {
            self.remove_dead(self.workers.keys().copied().collect(), now)?;
        }
        let NewWorker {
            id,
            name,
            lease,
            version,
            actions,
            workflows,
            resources,
        } = worker;
        let started_at = now;
        let heartbeat_at = now;
        let expires_at = now + lease;
        let running = 0;
        let info = WorkerInfo {
            id,
            name,
            started_at,
            heartbeat_at,
            expires_at,
            running,
            version,
            actions,
            workflows,
            resources,
            plan_format,
        };
        self.workers.insert(id, Worker { info, lease });
        Ok(())
    }

    pub(super) fn heartbeat(
        &mut self,
        id: WorkerId,
        now: Timestamp,
    ) -> Result<Heartbeat, StoreError> {
        let worker = self.workers.get_mut(&id).ok_or(StoreError::LeaseLost)?;
        worker.info.heartbeat_at = LastHeartbeat::time_after(worker.info.heartbeat_at, now);
        worker.info.expires_at = now + worker.lease;
        let cancels = self
            .held_by(id)
            .filter_map(|run| Some((run.id, run.head.cancel?)))
            .collect();
        let held = self.held_by(id).map(|run| run.id).collect();
        Ok(Heartbeat { cancels, held })
    }

    pub(super) fn deregister(&mut self, id: WorkerId, now: Timestamp) -> Result<(), StoreError> {
        match self
            .workers
            .get(&id)
            .map(|worker| format!("worker {} stopped", worker.info.name))
        {
            Some(reason) => self
                .end_worker(id, Interruption::HandedBack, &reason, now)
                .map(drop),
            None => Ok(()),
        }
    }

    pub(super) fn reclaim_worker(
        &mut self,
        id: WorkerId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let known = self.workers.contains_key(&id);
        self.remove_dead(if known { vec![id] } else { Vec::new() }, now)
            .map(drop)
    }

    pub(super) fn heartbeats(&self) -> Heartbeats {
        let last = |worker: &Worker| LastHeartbeat {
            worker: worker.info.id,
            at: worker.info.heartbeat_at,
            lease: worker.lease,
        };
        // A worker's end interrupts its runs in the same operation.
        Heartbeats {
            workers: self.workers.values().map(last).collect(),
            has_orphans: false,
        }
    }

    pub(super) fn reclaim(
        &mut self,
        silent: &[LastHeartbeat],
        now: Timestamp,
    ) -> Result<Vec<Run>, StoreError> {
        self.remove_dead(self.still_silent(silent), now)
    }

    /// The given workers that have sent no heartbeat since.
    pub(super) fn still_silent(&self, silent: &[LastHeartbeat]) -> Vec<WorkerId> {
        let is_silent = |last: &&LastHeartbeat| {
            self.workers
                .get(&last.worker)
                .is_some_and(|worker| worker.info.heartbeat_at == last.at)
        };
        silent
            .iter()
            .filter(is_silent)
            .map(|last| last.worker)
            .collect()
    }

    /// Workers with a valid lease, the longest registered first.
    pub(super) fn workers(&self, now: Timestamp) -> Vec<WorkerInfo> {
        let info = |worker: &Worker| {
            let running = self.held_by(worker.info.id).count() as u64;
            WorkerInfo {
                running,
                ..worker.info.clone()
            }
        };
        let alive = self
            .workers
            .values()
            .filter(|worker| worker.info.expires_at > now);
        let mut workers: Vec<WorkerInfo> = alive.map(info).collect();
        workers.sort_by_key(|worker| (worker.started_at, worker.id));
        workers
    }

    fn remove_dead(&mut self, dead: Vec<WorkerId>, now: Timestamp) -> Result<Vec<Run>, StoreError> {
        let mut taken = Vec::new();
        for id in dead {
            let reason = format!("worker {} died", self.workers[&id].info.name);
            let in_flight = self
                .held_by(id)
                .filter(|run| run.in_flight().is_some())
                .count();
            let cause = Interruption::Crashed {
                in_flight: u32::try_from(in_flight).unwrap_or(u32::MAX),
            };
            taken.extend(self.end_worker(id, cause, &reason, now)?);
        }
        taken.sort_by_key(|run| run.id);
        Ok(taken)
    }

    fn end_worker(
        &mut self,
        id: WorkerId,
        cause: Interruption,
        reason: &str,
        now: Timestamp,
    ) -> Result<Vec<Run>, StoreError> {
        let held: Vec<RunId> = self.held_by(id).map(|run| run.id).collect();
        self.workers.remove(&id);
        for id in &held {
            let queue = self.runs[id].run.queue().to_owned();
            self.outcomes.push((now, queue, Outcome::Recovered, 0));
        }
        held.into_iter()
            .map(|run| self.edit(run, now, |edit| edit.interrupt(cause, reason)))
            .collect()
    }

    fn held_by(&self, worker: WorkerId) -> impl Iterator<Item = &Run> {
        self.all()
            .filter(move |run| run.head.worker == Some(worker))
    }
}
