//! What a queue allows just now: its pause, its concurrency, its rate. The submit that starts at once and the claim share it.
//!
//! Whoever starts a run in a queue with limits locks the queue's row first, and counts then: so the limits hold over all
//! processes. Queues without limits take no lock.

use std::collections::HashMap;

use surefoot::{QueueLimits, StoreError, Timestamp};
use tokio_postgres::Row;

use crate::args::Args;
use crate::failure::Failure;
use crate::pipe::Call;
use crate::row::{count, get, optional_time, queue_row, time};
use crate::shared::Shared;
use crate::tx::Tx;

/// A queue as it stands, under its lock.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    paused: bool,
    limits: QueueLimits,
    /// The database's time.
    pub(super) now: Option<Timestamp>,
    running: u64,
    /// First starts that count.
    started: u64,
    /// The start that has to leave the window before the next.
    nth: Option<Timestamp>,
    /// How many run of each concurrency key, when that is limited.
    keys: HashMap<String, u64>,
}

impl Gate {
    /// Locks one queue and looks. `start` is the time of the start that is asked for: a moment ago.
    pub(super) async fn of(
        tx: &mut Tx<'_>,
        queue: &str,
        start: Option<Timestamp>,
    ) -> Result<Self, Failure> {
        let mut gates = gates(tx, &[queue], start).await?;
        Ok(gates.remove(queue).unwrap_or_default())
    }

    /// How many more runs its concurrency allows; none while it is paused.
    pub(super) fn places(&self) -> usize {
        let left = |limit: u32| {
            usize::try_from(u64::from(limit).saturating_sub(self.running)).unwrap_or(usize::MAX)
        };
        if self.paused {
            0
        } else {
            self.limits.concurrency.map_or(usize::MAX, left)
        }
    }

    /// How many more first starts its rate allows now.
    pub(super) fn starts(&self) -> usize {
        let left = |max: u32| {
            usize::try_from(u64::from(max).saturating_sub(self.started)).unwrap_or(usize::MAX)
        };
        self.limits.rate.map_or(usize::MAX, |rate| left(rate.max))
    }

    /// Whether its limits were looked at under its lock; else it had none a moment ago.
    pub(super) fn is_locked(&self) -> bool {
        self.now.is_some()
    }

    /// Whether first starts are counted.
    pub(super) fn counts(&self) -> bool {
        self.limits.rate.is_some()
    }

    /// Whether it has room for a new run with this concurrency key.
    pub(super) fn admits(&self, key: Option<&str>) -> bool {
        self.places() > 0 && self.starts() > 0 && key.is_none_or(|key| !self.is_full(key))
    }

    /// Whether as many runs of this concurrency key run as may.
    pub(super) fn is_full(&self, key: &str) -> bool {
        let running = self.keys.get(key).copied().unwrap_or(0);
        self.limits
            .concurrency_per_key
            .is_some_and(|limit| running >= u64::from(limit))
    }

    /// One more runs, whatever the limits.
    pub(super) fn occupy(&mut self, key: Option<&str>) {
        self.running += 1;
        if let Some(key) = key.filter(|_| self.limits.concurrency_per_key.is_some()) {
            *self.keys.entry(key.to_owned()).or_default() += 1;
        }
    }

    /// Takes a place for a run with this key, if one is left.
    pub(super) fn take(&mut self, key: &str) -> bool {
        let Some(limit) = self.limits.concurrency_per_key else {
            return true;
        };
        let running = self.keys.entry(key.to_owned()).or_default();
        let free = *running < u64::from(limit);
        *running += u64::from(free);
        free
    }

    /// The concurrency keys of which no more may run, as far as they were met.
    pub(super) fn full_keys(&self) -> Vec<String> {
        self.keys
            .keys()
            .filter(|key| self.is_full(key))
            .cloned()
            .collect()
    }

    /// When the rate allows a start, if only the rate holds one back.
    pub(super) fn next_start(&self) -> Option<Timestamp> {
        let rate = self.limits.rate?;
        if self.places() == 0 || self.starts() > 0 {
            return None;
        }
        self.nth.map(|start| start + rate.per)
    }
}

/// Locks those of these queues that hold back starts, and looks. Queues without limits are not in the result.
pub(super) async fn gates(
    tx: &mut Tx<'_>,
    queues: &[&str],
    start: Option<Timestamp>,
) -> Result<HashMap<String, Gate>, Failure> {
    let shared = tx.shared;
    let lock = (
        shared.sql.lock_queues.as_str(),
        Args::none().with_all(queues.to_vec()),
    );
    let [look, keys] = questions(shared, queues, start);
    let answers = tx.queries(vec![lock, look, keys]).await?;
    Ok(read(&answers[1], &answers[2])?)
}

/// The statements that look at queues that are locked. Each sees what others committed before they let go of the lock.
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
            names().with(shared.clock.told()).with(start),
        ),
        (&shared.sql.count_running_of_keys, names()),
    ]
}

/// The answers to [`questions`].
pub(super) fn read(rows: &[Row], keys: &[Row]) -> Result<HashMap<String, Gate>, StoreError> {
    let mut gates = HashMap::new();
    for row in rows {
        let (name, paused, limits) = queue_row(row)?;
        let gate = Gate {
            paused,
            limits,
            now: Some(time(row, 12)?),
            running: count(row, 13)?,
            started: count(row, 14)?,
            nth: optional_time(row, 15)?,
            keys: HashMap::new(),
        };
        gates.insert(name, gate);
    }
    for row in keys {
        if let Some(gate) = gates.get_mut(get::<&str>(row, 0)?) {
            gate.keys.insert(get(row, 1)?, count(row, 2)?);
        }
    }
    Ok(gates)
}
