//! Gives runs to a worker: the highest priority first, then the oldest, within what their queues allow.
//!
//! It walks only the partial indexes of runs that can be taken, queue by queue, so it costs the same with a million ended
//! runs in the file. Runs that the worker cannot run are left out by SQLite, not here: thousands of them ahead of
//! the others cost a walk along the index and nothing more.

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
    let foreign = Foreign::of(tx, request)?;
    let mut runs = Vec::new();
    let queues = queues(tx)?;
    // Runs that are found unreadable have taken the turns of others, and are passed over the next time.
    for _ in 0..MAX_PASSES {
        if !pick_and_take(tx, request, &foreign, &queues, &mut runs)? {
            break;
        }
    }
    runs.sort_unstable_by_key(|run| (Reverse(run.priority), run.id));
    *tx.backlog = !queues.is_empty();
    let next_at = next_at(tx, &queues, &foreign)?;
    Ok(Claimed {
        runs,
        next_at,
        held_back: *tx.backlog,
    })
}

/// Passes over the queues in one claim. Another one follows only a pass that found a run unreadable.
const MAX_PASSES: usize = 64;

/// Takes the runs whose turn it is. Returns whether some of them were found unreadable.
fn pick_and_take(
    tx: &mut Tx<'_>,
    request: &ClaimRequest,
    foreign: &Foreign,
    queues: &[String],
    runs: &mut Vec<surefoot::Run>,
) -> Result<bool, Failure> {
    let mut picks = cancelling(tx, foreign, request.limit - runs.len())?;
    let mut skipped = take(tx, request, &picks, runs)?;
    picks.clear();
    let room = request.limit - runs.len();
    for name in queues {
        picks.extend(pick(tx, name, foreign, room)?);
    }
    picks.sort_unstable_by_key(Pick::turn);
    picks.truncate(room);
    skipped |= take(tx, request, &picks, runs)?;
    Ok(skipped)
}

/// A run that can be taken.
#[derive(Debug)]
struct Pick {
    id: RunId,
    priority: i32,
    concurrency_key: Option<String>,
    /// It never ran, and its queue has a rate: its start counts.
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

/// The runs that the worker cannot take, by their plans and by what they require.
struct Foreign {
    plans: BTreeSet<i64>,
    /// The plans as a JSON array of their numbers, for the statements.
    plan_list: String,
    /// Sets of resources as the column `requires` has them.
    requirements: BTreeSet<String>,
    /// The same as a JSON array.
    requirement_list: String,
}

impl Foreign {
    fn of(tx: &Tx<'_>, request: &ClaimRequest) -> Result<Self, Failure> {
        let plans = foreign_plans(tx, request)?;
        let requirements = foreign_requirements(tx, request)?;
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

/// Every plan is looked at, but read from the database only once: see [`crate::plans::Plans`].
fn foreign_plans(tx: &Tx<'_>, request: &ClaimRequest) -> Result<BTreeSet<i64>, Failure> {
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
            .is_ok_and(|plan| plan.is_known_by(&request.actions));
        if !is_known {
            plans.insert(id);
        }
    }
    Ok(plans)
}

/// The sets of resources that some run requires and this worker does not offer.
fn foreign_requirements(tx: &Tx<'_>, request: &ClaimRequest) -> Result<BTreeSet<String>, Failure> {
    let mut statement = tx.conn.prepare_cached(sql::LIVE_REQUIREMENTS)?;
    let live = statement
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut foreign = BTreeSet::new();
    for requires in live {
        // Requirements that cannot be read match no worker, and hold up no other run.
        let is_offered = parse_required(Some(&requires))
            .is_ok_and(|required| required.is_subset(&request.resources));
        if !is_offered {
            foreign.insert(requires);
        }
    }
    Ok(foreign)
}

/// The queues that have a run to take.
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

fn cancelling(tx: &Tx<'_>, foreign: &Foreign, limit: usize) -> rusqlite::Result<Vec<Pick>> {
    let mut statement = tx.conn.prepare_cached(sql::CLAIM_CANCELLING)?;
    let picks = statement.query_map([&foreign.plan_list, &foreign.requirement_list], |row| {
        Pick::read(row, false)
    })?;
    let is_readable =
        |pick: &rusqlite::Result<Pick>| pick.as_ref().map_or(true, |pick| !pick.is_unreadable(tx));
    picks.filter(is_readable).take(limit).collect()
}

/// The runs of one queue whose turn it is, `limit` at most.
fn pick(tx: &Tx<'_>, name: &str, foreign: &Foreign, limit: usize) -> rusqlite::Result<Vec<Pick>> {
    let (paused, limits) = admit::queue(tx, name)?;
    let places = admit::places(tx, name, &limits)?.min(limit);
    if paused || places == 0 {
        return Ok(Vec::new());
    }
    let mut starts = admit::starts(tx, name, &limits)?;
    let (mut fresh, mut resumed) = (
        tx.conn.prepare_cached(sql::CLAIM_FRESH)?,
        tx.conn.prepare_cached(sql::CLAIM_RESUMED)?,
    );
    let mut fresh = Walk::begin(&mut fresh, name, foreign, limits.rate.is_some())?;
    let mut resumed = Walk::begin(&mut resumed, name, foreign, false)?;
    let mut keys = Keys {
        tx,
        name,
        limits: &limits,
        places: HashMap::new(),
    };
    let mut picks = Vec::new();
    while picks.len() < places {
        let fresh_turn = fresh.turn().filter(|_| starts > 0);
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

/// The rows of one of the two indexes, with the next one looked at already.
struct Walk<'s> {
    rows: Rows<'s>,
    counts: bool,
    next: Option<Pick>,
}

impl<'s> Walk<'s> {
    fn begin(
        statement: &'s mut CachedStatement<'_>,
        name: &str,
        foreign: &Foreign,
        counts: bool,
    ) -> rusqlite::Result<Self> {
        let rows = statement.query([name, &foreign.plan_list, &foreign.requirement_list])?;
        let mut walk = Self {
            rows,
            counts,
            next: None,
        };
        walk.next()?;
        Ok(walk)
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

/// The places that are left for each concurrency key.
struct Keys<'a, 'tx> {
    tx: &'a Tx<'tx>,
    name: &'a str,
    limits: &'a QueueLimits,
    places: HashMap<String, usize>,
}

impl Keys<'_, '_> {
    /// Takes a place for a run with this key, if one is left.
    fn take(&mut self, key: Option<&str>) -> rusqlite::Result<bool> {
        let Some(key) = key.filter(|_| self.limits.concurrency_per_key.is_some()) else {
            return Ok(true);
        };
        if !self.places.contains_key(key) {
            let places = admit::places_of_key(self.tx, self.name, self.limits, key)?;
            self.places.insert(key.to_owned(), places);
        }
        let Some(places) = self.places.get_mut(key).filter(|places| **places > 0) else {
            return Ok(false);
        };
        *places -= 1;
        Ok(true)
    }
}

/// Takes the picks. Returns whether some of them were found unreadable.
fn take(
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

/// When the next run becomes claimable by time alone: its own, or that of its queue's rate.
fn next_at(
    tx: &Tx<'_>,
    queues: &[String],
    foreign: &Foreign,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut next = None;
    for name in queues {
        let opens = Opens::of(tx, name)?;
        if !opens.shut
            && opens.start.is_some_and(|at| at > tx.now)
            && has_fresh(tx, name, foreign, &opens)?
        {
            next = earliest(next, opens.start);
        }
    }
    next_due(tx, foreign, next)
}

/// Whether only the queue's rate holds back a run of it.
fn has_fresh(tx: &Tx<'_>, name: &str, foreign: &Foreign, opens: &Opens) -> rusqlite::Result<bool> {
    let mut statement = tx.conn.prepare_cached(sql::CLAIM_FRESH)?;
    let mut walk = Walk::begin(&mut statement, name, foreign, true)?;
    let mut keys = Keys {
        tx,
        name,
        limits: &opens.limits,
        places: HashMap::new(),
    };
    while let Some(pick) = walk.next()? {
        if !pick.is_unreadable(tx) && keys.take(pick.concurrency_key.as_deref())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The same for runs that wait for a time of their own.
fn next_due(
    tx: &Tx<'_>,
    foreign: &Foreign,
    mut next: Option<Timestamp>,
) -> rusqlite::Result<Option<Timestamp>> {
    let mut statement = tx.conn.prepare_cached(sql::DUE_RUNS)?;
    let mut rows = statement.query([])?;
    let mut queues: HashMap<String, Opens> = HashMap::new();
    while let Some(row) = rows.next()? {
        let at = time(row, 0)?;
        let name = row.get::<_, String>(1)?;
        if next.is_some_and(|next| next <= at) {
            break;
        }
        if foreign.has(row.get(2)?, row.get::<_, Option<String>>(6)?.as_deref()) {
            continue;
        }
        let key: Option<String> = row.get(3)?;
        let fresh: bool = row.get(4)?;
        let cancelling: bool = row.get(5)?;
        if !queues.contains_key(&name) {
            queues.insert(name.clone(), Opens::of(tx, &name)?);
        }
        let opens = if cancelling {
            Some(at)
        } else {
            queues[&name].at(tx, &name, key.as_deref(), fresh)?
        };
        next = earliest(next, opens.map(|opens| opens.max(at)));
    }
    Ok(next)
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    one.into_iter().chain(other).min()
}

/// From when on a queue lets a run go, as things are.
struct Opens {
    limits: QueueLimits,
    /// No time opens it: it is paused, or full.
    shut: bool,
    /// When its rate allows a first start; `None` is never.
    start: Option<Timestamp>,
}

impl Opens {
    fn of(tx: &Tx<'_>, name: &str) -> rusqlite::Result<Self> {
        let (paused, limits) = admit::queue(tx, name)?;
        let shut = paused || admit::places(tx, name, &limits)? == 0;
        let start = limits
            .rate
            .map_or(Ok(Some(tx.now)), |rate| admit::next_start(tx, name, rate))?;
        Ok(Self {
            limits,
            shut,
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
        let of_key = |key| admit::places_of_key(tx, name, &self.limits, key);
        if self.shut || key.map(of_key).transpose()? == Some(0) {
            return Ok(None);
        }
        Ok(if fresh { self.start } else { Some(tx.now) })
    }
}
