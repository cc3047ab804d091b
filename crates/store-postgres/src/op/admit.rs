//! Admission: what a queue's pause, concurrency and rate currently allow. Shared by claims and by
//! submissions that start at once.
//!
//! A process that starts a run in a queue with limits first locks the queue's row and then counts,
//! so the limits hold over all processes. Queues without limits need no lock.

use std::collections::HashMap;

use surefoot::{QueueLimits, StoreError, Timestamp};
use tokio_postgres::Row;

use crate::args::Args;
use crate::failure::Failure;
use crate::pipeline::Call;
use crate::row::{count, get, optional_time, queue_row, time};
use crate::shared::Shared;
use crate::tx::Tx;

/// State of a queue, read under its lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Admission {
    paused: bool,
    limits: QueueLimits,
    /// Time of the database.
    pub(super) now: Option<Timestamp>,
    running: u64,
    /// First starts that count.
    started: u64,
    /// Start that must leave the window before the next one.
    nth: Option<Timestamp>,
    /// Running runs of each concurrency key, if those are limited.
    keys: HashMap<String, u64>,
}

impl Admission {
    /// Locks one queue and reads its state. `start` is the time of the requested start, a moment
    /// ago.
    pub(super) async fn of(
        tx: &mut Tx<'_>,
        queue: &str,
        start: Option<Timestamp>,
    ) -> Result<Self, Failure> {
        let mut admissions = admissions(tx, &[queue], start).await?;
        Ok(admissions.remove(queue).unwrap_or_default())
    }

    /// Number of further runs that its concurrency allows; none while it is paused.
    pub(super) fn free_slots(&self) -> usize {
        let left = |limit: u32| {
            usize::try_from(u64::from(limit).saturating_sub(self.running)).unwrap_or(usize::MAX)
        };
        if self.paused {
            0
        } else {
            self.limits.concurrency.map_or(usize::MAX, left)
        }
    }

    /// Number of further first starts that its rate allows now.
    pub(super) fn allowed_starts(&self) -> usize {
        let left = |max: u32| {
            usize::try_from(u64::from(max).saturating_sub(self.started)).unwrap_or(usize::MAX)
        };
        self.limits.rate.map_or(usize::MAX, |rate| left(rate.max))
    }

    /// Returns whether its limits were read under its lock; otherwise it had none a moment ago.
    pub(super) fn is_locked(&self) -> bool {
        self.now.is_some()
    }

    /// Returns whether first starts are counted.
    pub(super) fn counts(&self) -> bool {
        self.limits.rate.is_some()
    }

    /// Returns whether a new run with this concurrency key may start.
    pub(super) fn admits(&self, key: Option<&str>) -> bool {
        self.free_slots() > 0
            && self.allowed_starts() > 0
            && key.is_none_or(|key| !self.is_full(key))
    }

    /// Returns whether this concurrency key has no free slot.
    pub(super) fn is_full(&self, key: &str) -> bool {
        let running = self.keys.get(key).copied().unwrap_or(0);
        self.limits
            .concurrency_per_key
            .is_some_and(|limit| running >= u64::from(limit))
    }

    /// Counts another running run, whatever the limits.
    pub(super) fn occupy(&mut self, key: Option<&str>) {
        self.running += 1;
        if self.limits.concurrency_per_key.is_some()
            && let Some(key) = key
        {
            *self.keys.entry(key.to_owned()).or_default() += 1;
        }
    }

    /// Takes a slot for a run with this key, if one is free.
    pub(super) fn take(&mut self, key: &str) -> bool {
        let Some(limit) = self.limits.concurrency_per_key else {
            return true;
        };
        let running = self.keys.entry(key.to_owned()).or_default();
        let free = *running < u64::from(limit);
        *running += u64::from(free);
        free
    }

    /// Concurrency keys without a free slot, among those seen so far.
    pub(super) fn full_keys(&self) -> Vec<String> {
        self.keys
            .keys()
            .filter(|key| self.is_full(key))
            .cloned()
            .collect()
    }

    /// Time at which the rate allows a start, if only the rate holds one back.
    pub(super) fn next_start(&self) -> Option<Timestamp> {
        let rate = self.limits.rate?;
        if self.free_slots() == 0 || self.allowed_starts() > 0 {
            return None;
        }
        self.nth.map(|start| start + rate.per)
    }
}

/// Locks the given queues that have limits, and reads their state. Queues without limits are not in
/// the result.
pub(super) async fn admissions(
    tx: &mut Tx<'_>,
    queues: &[&str],
    start: Option<Timestamp>,
) -> Result<HashMap<String, Admission>, Failure> {
    let shared = tx.shared;
    let lock = (
        shared.sql.lock_queues.as_str(),
        Args::none().with_all(queues.to_vec()),
    );
    let [state, keys] = questions(shared, queues, start);
    let answers = tx.queries(vec![lock, state, keys]).await?;
    Ok(read(&answers[1], &answers[2])?)
}

/// Statements that read the state of locked queues. Each sees what other processes committed before
/// they released the lock.
pub(super) fn questions<'a>(
    shared: &'a Shared,
    queues: &[&'a str],
    start: Option<Timestamp>,
) -> [Call<'a>; 2] {
    let names = || Args::none().with_all(queues.to_vec());
    let start = start.map(Timestamp::as_micros);
    [
        (
            &shared.sql.admit,
            names().with(shared.clock.time_parameter()).with(start),
        ),
        (&shared.sql.count_running_of_keys, names()),
    ]
}

/// Decodes the answers to [`questions`].
pub(super) fn read(rows: &[Row], keys: &[Row]) -> Result<HashMap<String, Admission>, StoreError> {
    let mut admissions = HashMap::new();
    for row in rows {
        let (name, paused, limits) = queue_row(row)?;
        let admission = Admission {
            paused,
            limits,
            now: Some(time(row, 14)?),
            running: count(row, 15)?,
            started: count(row, 16)?,
            nth: optional_time(row, 17)?,
            keys: HashMap::new(),
        };
        admissions.insert(name, admission);
    }
    for row in keys {
        if let Some(admission) = admissions.get_mut(get::<&str>(row, 0)?) {
            admission.keys.insert(get(row, 1)?, count(row, 2)?);
        }
    }
    Ok(admissions)
}
