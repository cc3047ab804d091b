//! Queues: their limits, and the times at which their runs can be claimed.

use std::collections::BTreeSet;

use surefoot::{QueueInfo, QueueLimits, Rate, Run, RunStatus, StoreError, Timestamp};

use super::state::{Queue, State};

impl State {
    pub(super) fn set_queue(
        &mut self,
        name: &str,
        limits: QueueLimits,
        only_if_new: bool,
    ) -> Result<(), StoreError> {
        if !(only_if_new && self.queues.contains_key(name)) {
            self.queues.entry(name.to_owned()).or_default().limits = limits;
        }
        Ok(())
    }

    pub(super) fn pause_queue(&mut self, name: &str, paused: bool) -> Result<(), StoreError> {
        self.queues.entry(name.to_owned()).or_default().paused = paused;
        Ok(())
    }

    pub(super) fn queues(&self) -> Vec<QueueInfo> {
        let names: BTreeSet<&str> = self
            .queues
            .keys()
            .map(String::as_str)
            .chain(self.all().map(Run::queue))
            .collect();
        names
            .into_iter()
            .map(|name| self.queue_info(name))
            .collect()
    }

    fn queue_info(&self, name: &str) -> QueueInfo {
        let count = |status| {
            self.in_queue(name)
                .filter(|run| run.head.status == status)
                .count() as u64
        };
        let known = self.queues.get(name);
        QueueInfo {
            name: name.to_owned(),
            limits: known.map(|queue| queue.limits.clone()).unwrap_or_default(),
            paused: known.is_some_and(|queue| queue.paused),
            queued: count(RunStatus::Queued),
            waiting: count(RunStatus::Waiting),
            running: count(RunStatus::Running),
        }
    }

    /// Time from which the run can be claimed, as things are now; `None` if time alone does not
    /// make it claimable.
    pub(super) fn claimable_at(&self, run: &Run, now: Timestamp) -> Option<Timestamp> {
        let available_at = run.head.available_at?;
        let Some(queue) = self.queues.get(run.queue()) else {
            return Some(available_at);
        };
        // A cancel is carried out whatever the queue's state: a person waits for it.
        if run.head.cancel.is_some() {
            return Some(available_at);
        }
        if queue.paused || self.is_full(run, queue) {
            return None;
        }
        match queue.limits.rate {
            Some(rate) if run.head.started_at.is_none() => {
                Some(available_at.max(self.rate_allows_at(run.queue(), rate, now)?))
            }
            _ => Some(available_at),
        }
    }

    fn is_full(&self, run: &Run, queue: &Queue) -> bool {
        let running = |same: &dyn Fn(&Run) -> bool| {
            self.in_queue(run.queue())
                .filter(|other| other.head.status == RunStatus::Running && same(other))
                .count()
        };
        let full =
            |limit: Option<u32>, count: usize| limit.is_some_and(|limit| count >= limit as usize);
        full(queue.limits.concurrency, running(&|_| true))
            || run.concurrency_key.is_some()
                && full(
                    queue.limits.concurrency_per_key,
                    running(&|other| other.concurrency_key == run.concurrency_key),
                )
    }

    /// Another start is allowed once the `max`-th last start is a window's length ago. A start
    /// further in the future than that was written before the clock was set back, and would block
    /// the queue until then.
    fn rate_allows_at(&self, queue: &str, rate: Rate, now: Timestamp) -> Option<Timestamp> {
        let of_queue = self
            .runs
            .values()
            .filter(|entry| entry.run.queue() == queue);
        let mut starts: Vec<Timestamp> = of_queue
            .filter_map(|entry| entry.first_start)
            .filter(|start| *start <= now + rate.per)
            .collect();
        starts.sort_unstable_by(|a, b| b.cmp(a));
        let last_of_window = (rate.max as usize).checked_sub(1)?;
        Some(
            starts
                .get(last_of_window)
                .map_or(Timestamp::from_micros(i64::MIN), |start| *start + rate.per),
        )
    }

    fn in_queue(&self, name: &str) -> impl Iterator<Item = &Run> {
        self.all().filter(move |run| run.queue() == name)
    }
}
