//! Claims runs for a worker: the highest priority first, then the oldest, within the limits of
//! their queues.
//!
//! A claim reads only the partial indexes of claimable runs, queue by queue, so it costs the same
//! with a million ended runs in the file. SQLite filters out runs that the worker cannot run:
//! thousands of them before the others cost an index scan and nothing more.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use rusqlite::{CachedStatement, Row, Rows};
use surefoot::store::{ClaimRequest, Claimed};
use surefoot::{QueueLimits, RunId, StoreError, Timestamp};

use super::{admit, person};
use crate::error::Failure;
use crate::row::{json, parse_required, time};
use crate::sql;
use crate::writer::Tx;

pub(crate) fn claim(tx: &mut Tx<'_>, request: &ClaimRequest) -> Result<Claimed, Failure> {
    if !tx
        .conn
        .prepare_cached(sql::WORKER_EXISTS)?
        .exists([request.worker.as_bytes()])?
    {
        return Err(Failure::Refused(StoreError::LeaseLost));
    }
    admit::promote_due(tx)?;
    let unclaimable = Unclaimable::of(tx, request)?;
    let mut runs = Vec::new();
    let queues = queues(tx)?;
    // Unreadable runs have taken the turns of others; the next pass skips them.
    for _ in 0..MAX_PASSES {
        if !pick_and_take(tx, request, &unclaimable, &queues, &mut runs)? {
            break;
        }
    }
    runs.sort_unstable_by_key(|run| (Reverse(run.priority), run.id));
    *tx.backlog = !queues.is_empty();
    let next_at = next_at(tx, &queues, &unclaimable)?;
    Ok(Claimed {
        runs,
        next_at,
        held_back: *tx.backlog,
    })
}

/// Passes over the queues in one claim. A further pass happens only if the previous one met an
/// unreadable run.
const MAX_PASSES: usize = 64;

/// Claims the next runs. Returns whether some of them were unreadable.
fn pick_and_take(
    tx: &mut Tx<'_>,
    request: &ClaimRequest,
    unclaimable: &Unclaimable,
    queues: &[String],
    runs: &mut Vec<surefoot::Run>,
) -> Result<bool, Failure> {
    let mut picks = cancelling(tx, unclaimable, request.limit - runs.len())?;
    let mut skipped = claim_picks(tx, request, &picks, runs)?;
    picks.clear();
    let room = request.limit - runs.len();
    for name in queues {
        picks.extend(pick(tx, name, unclaimable, room)?);
    }
    picks.sort_unstable_by_key(Pick::turn);
    picks.truncate(room);
    skipped |= claim_picks(tx, request, &picks, runs)?;
    Ok(skipped)
}

/// A run chosen by the claim.
#[derive(Debug)]
struct Pick {
    id: RunId,
    priority: i32,
    concurrency_key: Option<String>,
    /// True for a first start in a queue with a rate.
    counts: bool,
}

impl Pick {
    fn read(row: &Row<'_>, counts: bool) -> rusqlite::Result<Self> {
        let id = RunId::from_bytes(row.get(0)?);
        Ok(Self {
            id,
            priority: row.get(1)?,
            concurrency_key: row.get(3)?,
            counts,
        })
    }

    fn turn(&self) -> (Reverse<i32>, RunId) {
        (Reverse(self.priority), self.id)
    }

    fn is_unreadable(&self, tx: &Tx<'_>) -> bool {
        tx.plans.unreadable.has(self.id)
    }
}

/// Runs that the worker cannot claim, by their plans and by their requirements.
struct Unclaimable {
    plans: BTreeSet<i64>,
    /// The plans as a JSON array of their numbers, for the statements.
    plan_list: String,
    /// Sets of resources in the form of the column `requires`.
    requirements: BTreeSet<String>,
    /// The same as a JSON array.
    requirement_list: String,
}

impl Unclaimable {
    fn of(tx: &Tx<'_>, request: &ClaimRequest) -> Result<Self, Failure> {
        let plans = unclaimable_plans(tx, request)?;
        let requirements = unmet_requirements(tx, request)?;
        Ok(Self {
            plan_list: json(&serde_json::json!(plans))?,
            requirement_list: json(&serde_json::json!(requirements))?,
            plans,
            requirements,
        })
    }

    fn has(&self, plan: i64, requires: Option<&str>) -> bool {
        self.plans.contains(&plan)
            || requires.is_some_and(|requires| self.requirements.contains(requires))
    }
}

/// Every plan is examined, but read from the database only once; see [`crate::plans::Plans`].
fn unclaimable_plans(tx: &Tx<'_>, request: &ClaimRequest) -> Result<BTreeSet<i64>, Failure> {
    let mut statement = tx.conn.prepare_cached(sql::LIVE_PLANS)?;
    let ids = statement
        .query_map([], |row| row.get::<_, i64>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut plans = BTreeSet::new();
    for id in ids {
        // A plan that this build cannot read is left to a build that can.
        let is_known = tx
            .plans
            .get(tx.conn, id)?
            .is_ok_and(|plan| request.fits(&plan));
        if !is_known {
            plans.insert(id);
        }
    }
    Ok(plans)
}

/// Sets of resources that some run requires and this worker does not offer.
fn unmet_requirements(tx: &Tx<'_>, request: &ClaimRequest) -> Result<BTreeSet<String>, Failure> {
    let mut statement = tx.conn.prepare_cached(sql::LIVE_REQUIREMENTS)?;
    let live = statement
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut unclaimable = BTreeSet::new();
    for requires in live {
        // Unreadable requirements match no worker, and block no other run.
        let is_offered = parse_required(Some(&requires))
            .is_ok_and(|required| required.is_subset(&request.resources));
        if !is_offered {
            unclaimable.insert(requires);
        }
    }
    Ok(unclaimable)
}

/// Queues with a claimable run.
fn queues(tx: &Tx<'_>) -> rusqlite::Result<Vec<String>> {
    let mut statement = tx.conn.prepare_cached(sql::NEXT_QUEUE)?;
    let mut queues: Vec<String> = Vec::new();
    loop {
        let after = queues.last().map_or("", String::as_str);
        match statement.query_row([after], |row| row.get(0))? {
            Some(name) => queues.push(name),
            None => return Ok(queues),
        }
    }
}

fn cancelling(tx: &Tx<'_>, unclaimable: &Unclaimable, limit: usize) -> rusqlite::Result<Vec<Pick>> {
    let mut statement = tx.conn.prepare_cached(sql::CLAIM_CANCELLING)?;
    let picks = statement.query_map(
        [&unclaimable.plan_list, &unclaimable.requirement_list],
        |row| Pick::read(row, false),
    )?;
    let is_readable =
        |pick: &rusqlite::Result<Pick>| pick.as_ref().map_or(true, |pick| !pick.is_unreadable(tx));
    picks.filter(is_readable).take(limit).collect()
}

/// The next runs of one queue, at most `limit`.
fn pick(
    tx: &Tx<'_>,
    name: &str,
    unclaimable: &Unclaimable,
    limit: usize,
) -> rusqlite::Result<Vec<Pick>> {
    let (paused, limits) = admit::queue(tx, name)?;
    let free_slots = admit::free_slots(tx, name, &limits)?.min(limit);
    if paused || free_slots == 0 {
        return Ok(Vec::new());
    }
    let mut starts = admit::allowed_starts(tx, name, &limits)?;
    let mut fresh = tx.conn.prepare_cached(sql::CLAIM_FRESH)?;
    let mut resumed = tx.conn.prepare_cached(sql::CLAIM_RESUMED)?;
    let mut fresh = IndexScan::begin(&mut fresh, name, unclaimable, limits.rate.is_some())?;
    let mut resumed = IndexScan::begin(&mut resumed, name, unclaimable, false)?;
    let mut keys = Keys {
        tx,
        name,
        limits: &limits,
        free_slots: HashMap::new(),
    };
    let mut picks = Vec::new();
    while picks.len() < free_slots {
        let fresh_turn = if starts > 0 { fresh.turn() } else { None };
        let fresh_next =
            fresh_turn.is_some() && resumed.turn().is_none_or(|turn| fresh_turn < Some(turn));
        let Some(pick) = (if fresh_next {
            fresh.next()?
        } else {
            resumed.next()?
        }) else {
            break;
        };
        if !pick.is_unreadable(tx) && keys.take(pick.concurrency_key.as_deref())? {
            starts -= usize::from(fresh_next);
            picks.push(pick);
        }
    }
    Ok(picks)
}

/// Rows of one of the two indexes, with one row of lookahead.
struct IndexScan<'s> {
    rows: Rows<'s>,
    counts: bool,
    next: Option<Pick>,
}

impl<'s> IndexScan<'s> {
    fn begin(
        statement: &'s mut CachedStatement<'_>,
        name: &str,
        unclaimable: &Unclaimable,
        counts: bool,
    ) -> rusqlite::Result<Self> {
        let rows =
            statement.query([name, &unclaimable.plan_list, &unclaimable.requirement_list])?;
        let mut scan = Self {
            rows,
            counts,
            next: None,
        };
        scan.next()?;
        Ok(scan)
    }

    fn turn(&self) -> Option<(Reverse<i32>, RunId)> {
        self.next.as_ref().map(Pick::turn)
    }

    fn next(&mut self) -> rusqlite::Result<Option<Pick>> {
        let after = self
            .rows
            .next()?
            .map(|row| Pick::read(row, self.counts))
            .transpose()?;
        Ok(std::mem::replace(&mut self.next, after))
    }
}

/// Free slots of each concurrency key.
struct Keys<'a, 'tx> {
    tx: &'a Tx<'tx>,
    name: &'a str,
    limits: &'a QueueLimits,
    free_slots: HashMap<String, usize>,
}

impl Keys<'_, '_> {
    /// Takes a slot for a run with this key, if one is free.
    fn take(&mut self, key: Option<&str>) -> rusqlite::Result<bool> {
        let Some(key) = key else { return Ok(true) };
        if self.limits.concurrency_per_key.is_none() {
            return Ok(true);
        }
        if !self.free_slots.contains_key(key) {
            let free_slots = admit::free_slots_of_key(self.tx, self.name, self.limits, key)?;
            self.free_slots.insert(key.to_owned(), free_slots);
        }
        let Some(free_slots) = self
            .free_slots
            .get_mut(key)
            .filter(|free_slots| **free_slots > 0)
        else {
            return Ok(false);
        };
        *free_slots -= 1;
        Ok(true)
    }
}

/// Claims the picked runs. Returns whether some of them were unreadable.
fn claim_picks(
    tx: &mut Tx<'_>,
    request: &ClaimRequest,
    picks: &[Pick],
    runs: &mut Vec<surefoot::Run>,
) -> Result<bool, Failure> {
    let mut skipped = false;
    for pick in picks {
        let rate_at = pick.counts.then_some(tx.now);
        match person::edit_start(tx, pick.id, rate_at, |edit| edit.claim(request.worker)) {
            Err(Failure::Refused(StoreError::Unreadable { .. })) => skipped = true,
            // The runs claimed before it are written already.
            run => runs.push(run.map_err(|failure| Failure::Aborted(failure.into_error()))?),
        }
    }
    Ok(skipped)
}

/// Time at which the next run becomes claimable by time alone: its own, or that of its queue's
/// rate.
fn next_at(
    tx: &Tx<'_>,
    queues: &[String],
    unclaimable: &Unclaimable,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut next = None;
    for name in queues {
        let admission = QueueAdmission::of(tx, name)?;
        if !admission.closed
            && admission.start.is_some_and(|at| at > tx.now)
            && has_fresh(tx, name, unclaimable, &admission)?
        {
            next = earliest(next, admission.start);
        }
    }
    next_due(tx, unclaimable, next)
}

/// Returns whether a run of the queue is held back only by its rate.
fn has_fresh(
    tx: &Tx<'_>,
    name: &str,
    unclaimable: &Unclaimable,
    admission: &QueueAdmission,
) -> rusqlite::Result<bool> {
    let mut statement = tx.conn.prepare_cached(sql::CLAIM_FRESH)?;
    let mut scan = IndexScan::begin(&mut statement, name, unclaimable, true)?;
    let mut keys = Keys {
        tx,
        name,
        limits: &admission.limits,
        free_slots: HashMap::new(),
    };
    while let Some(pick) = scan.next()? {
        if !pick.is_unreadable(tx) && keys.take(pick.concurrency_key.as_deref())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same for runs that wait for a time of their own.
fn next_due(
    tx: &Tx<'_>,
    unclaimable: &Unclaimable,
    mut next: Option<Timestamp>,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = tx.conn.prepare_cached(sql::DUE_RUNS)?;
    let mut rows = statement.query([])?;
    let mut queues: HashMap<String, QueueAdmission> = HashMap::new();
    while let Some(row) = rows.next()? {
        let at = time(row, 0)?;
        let name = row.get::<_, String>(1)?;
        if next.is_some_and(|next| next <= at) {
            break;
        }
        if unclaimable.has(row.get(2)?, row.get::<_, Option<String>>(6)?.as_deref()) {
            continue;
        }
        let key: Option<String> = row.get(3)?;
        let fresh: bool = row.get(4)?;
        let cancelling: bool = row.get(5)?;
        if !queues.contains_key(&name) {
            queues.insert(name.clone(), QueueAdmission::of(tx, &name)?);
        }
        let opens_at = if cancelling {
            Some(at)
        } else {
            queues[&name].at(tx, &name, key.as_deref(), fresh)?
        };
        next = earliest(next, opens_at.map(|opens_at| opens_at.max(at)));
    }
    Ok(next)
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// Time from which a queue admits a run, as things are now.
struct QueueAdmission {
    limits: QueueLimits,
    /// No time opens it: it is paused or full.
    closed: bool,
    /// Time at which its rate allows a first start; `None` means never.
    start: Option<Timestamp>,
}

impl QueueAdmission {
    fn of(tx: &Tx<'_>, name: &str) -> rusqlite::Result<Self> {
        let (paused, limits) = admit::queue(tx, name)?;
        let closed = paused || admit::free_slots(tx, name, &limits)? == 0;
        let start = limits
            .rate
            .map_or(Ok(Some(tx.now)), |rate| admit::next_start(tx, name, rate))?;
        Ok(Self {
            limits,
            closed,
            start,
        })
    }

    fn at(
        &self,
        tx: &Tx<'_>,
        name: &str,
        key: Option<&str>,
        fresh: bool,
    ) -> rusqlite::Result<Option<Timestamp>> {
        let of_key = |key| admit::free_slots_of_key(tx, name, &self.limits, key);
        if self.closed || key.map(of_key).transpose()? == Some(0) {
            return Ok(None);
        }
        Ok(if fresh { self.start } else { Some(tx.now) })
    }
}
