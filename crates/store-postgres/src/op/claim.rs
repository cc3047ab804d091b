//! Gives runs to a worker: the highest priority first, then the oldest, within what their queues allow.
//!
//! A look says whether there is anything at all: that is all that an idle worker asks. Then it walks only the partial indexes
//! of runs that can be taken, queue by queue, and passes over rows that another worker is taking. Queues with limits are
//! locked and counted first; the others are not.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use surefoot::state::Edit;
use surefoot::store::{ClaimRequest, Claimed};
use surefoot::{Run, RunId, StoreError, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admit::{self, Gate};
use super::write::{self, Change};
use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::plans::Plan;
use crate::row::{RunRow, StepStates, Written, get, of_runs, optional_time, steps_of, time, uuid};
use crate::shared::Shared;
use crate::tx::Tx;

pub(crate) async fn claim(shared: &Shared, request: &ClaimRequest) -> Result<Claimed, Failure> {
    for _ in 0..MAX_PASSES {
        let (claimed, skipped) = pass(shared, request).await?;
        // Runs that were found unreadable have taken the turns of others, and are passed over the next time.
        if !claimed.runs.is_empty() || !skipped {
            return Ok(claimed);
        }
    }
    Ok(Claimed {
        held_back: true,
        ..Claimed::default()
    })
}

/// Passes over the queues in one claim. Another one follows only a pass that found nothing but unreadable runs.
const MAX_PASSES: usize = 64;

/// Makes a pass over the queues, and returns whether it found a run unreadable.
async fn pass(shared: &Shared, request: &ClaimRequest) -> Result<(Claimed, bool), Failure> {
    let mut look = Look::take(shared, request).await?;
    if look.is_due {
        let promote = Args::none().with(look.now.as_micros());
        shared.query((&shared.sql.promote_due, promote)).await?;
        look = Look::take(shared, request).await?;
    }
    shared.set_backlog(!look.queues.is_empty());
    if request.limit == 0 || !look.is_cancelling && look.queues.is_empty() {
        return Ok((look.nothing(), false));
    }
    let mut tx = Tx::begin(shared).await?;
    let taken = take(&mut tx, request, &look).await;
    let taken = match taken {
        Ok(taken) => taken,
        Err(failure) => {
            tx.roll_back().await;
            return Err(failure);
        }
    };
    let skipped = taken.skipped;
    Ok((finish(tx, &look, taken).await?, skipped))
}

/// What there is to claim, at a glance.
#[derive(Debug)]
struct Look {
    now: Timestamp,
    is_cancelling: bool,
    is_due: bool,
    next_due: Option<Timestamp>,
    plans: Vec<i32>,
    /// The queues that have a run to take, and whether they hold back starts.
    queues: Vec<(String, bool)>,
}

impl Look {
    /// What a claim comes to that takes no run.
    fn nothing(&self) -> Claimed {
        Claimed {
            runs: Vec::new(),
            next_at: self.next_due,
            held_back: !self.queues.is_empty(),
        }
    }

    async fn take(shared: &Shared, request: &ClaimRequest) -> Result<Self, Failure> {
        let asked = Instant::now();
        let args = Args::none()
            .with(uuid(request.worker.as_bytes()))
            .with(shared.clock.told());
        let rows = shared.query((&shared.sql.look, args)).await?;
        let row = rows.first().ok_or_else(|| fault("a look gives one row"))?;
        if !get::<bool>(row, 1)? {
            return Err(StoreError::LeaseLost.into());
        }
        let now = time(row, 0)?;
        shared.clock.saw(asked, now);
        let next_due = optional_time(row, 3)?;
        let names: Vec<String> = get(row, 5)?;
        let limited: Vec<bool> = get(row, 6)?;
        Ok(Self {
            now,
            is_cancelling: get(row, 2)?,
            is_due: next_due.is_some_and(|at| at <= now),
            next_due: next_due.filter(|at| *at > now),
            plans: get(row, 4)?,
            queues: names.into_iter().zip(limited).collect(),
        })
    }
}

/// A run that can be taken; its row is locked.
#[derive(Debug)]
struct Pick {
    row: RunRow,
    /// It never ran, and its queue has a rate: its start counts.
    counts: bool,
}

/// The order of starting.
type Turn = (Reverse<i32>, RunId);

impl Pick {
    fn turn(&self) -> Turn {
        (Reverse(self.row.priority), self.row.id)
    }
}

/// What is taken, ready to be written.
struct Taken {
    changes: Vec<Change>,
    now: Timestamp,
    /// The queues that hold back starts.
    limited: Vec<String>,
    /// True when a run was found unreadable.
    skipped: bool,
}

async fn take(tx: &mut Tx<'_>, request: &ClaimRequest, look: &Look) -> Result<Taken, Failure> {
    let shared = tx.shared;
    let plans = shared.plans.get(tx, look.plans.iter().copied()).await?;
    let foreign = foreign_plans(&plans, request);
    let mut picks = Vec::new();
    if look.is_cancelling {
        picks = cancelling(tx, &foreign, request).await?;
    }
    let room = request.limit - picks.len();
    let names: Vec<&str> = look
        .queues
        .iter()
        .filter(|(_, limited)| *limited)
        .map(|(name, _)| name.as_str())
        .collect();
    let mut gates = if names.is_empty() {
        HashMap::new()
    } else {
        admit::gates(tx, &names, None).await?
    };
    // Those take places too, though nothing holds them back.
    for pick in &picks {
        if let Some(gate) = gates.get_mut(pick.row.queue()) {
            gate.occupy(pick.row.concurrency_key.as_deref());
        }
    }
    let now = gates
        .values()
        .find_map(|gate| gate.now)
        .unwrap_or_else(|| shared.now());
    let mut rest = Vec::new();
    for (name, _) in &look.queues {
        let mut gate = gates.remove(name).unwrap_or_default();
        rest.extend(
            Walk {
                tx,
                name,
                foreign: &foreign,
                request,
                gate: &mut gate,
                picks: Vec::new(),
            }
            .picks(room)
            .await?,
        );
    }
    rest.sort_unstable_by_key(Pick::turn);
    rest.truncate(room);
    picks.append(&mut rest);
    picks.sort_unstable_by_key(Pick::turn);
    let picked = picks.len();
    let changes = changes(tx, request, picks, now).await?;
    let skipped = changes.len() < picked;
    Ok(Taken {
        changes,
        now,
        limited: names.into_iter().map(str::to_owned).collect(),
        skipped,
    })
}

/// The plans that the worker cannot run, or this build not read.
fn foreign_plans(plans: &HashMap<i32, Plan>, request: &ClaimRequest) -> Vec<i32> {
    let is_known = |plan: &Plan| {
        plan.as_ref()
            .is_ok_and(|plan| plan.is_known_by(&request.actions))
    };
    plans
        .iter()
        .filter(|(_, plan)| !is_known(plan))
        .map(|(id, _)| *id)
        .collect()
}

/// The resources that the worker offers.
fn offered(request: &ClaimRequest) -> Vec<String> {
    request.resources.iter().cloned().collect()
}

async fn cancelling(
    tx: &mut Tx<'_>,
    foreign: &[i32],
    request: &ClaimRequest,
) -> Result<Vec<Pick>, Failure> {
    let noted: Vec<Uuid> = tx
        .shared
        .plans
        .unreadable
        .ids()
        .iter()
        .map(|id| uuid(id.as_bytes()))
        .collect();
    let args = Args::none()
        .with_all(foreign.to_vec())
        .with_all(offered(request));
    let args = args.with(bound(request.limit)).with_all(noted);
    let rows = tx.query((&tx.sql().claim_cancelling, args)).await?;
    Ok(of_runs(&rows)?
        .into_iter()
        .map(|row| Pick { row, counts: false })
        .collect())
}

/// Picks the runs of one queue whose turn it is.
struct Walk<'w, 'tx> {
    tx: &'w mut Tx<'tx>,
    name: &'w str,
    foreign: &'w [i32],
    request: &'w ClaimRequest,
    gate: &'w mut Gate,
    picks: Vec<Pick>,
}

impl Walk<'_, '_> {
    /// `room` at most.
    async fn picks(mut self, room: usize) -> Result<Vec<Pick>, Failure> {
        let places = self.gate.places().min(room);
        let mut starts = self.gate.starts();
        while self.picks.len() < places {
            let page = self.page(places - self.picks.len(), starts).await?;
            if page.picks.is_empty() {
                break;
            }
            // Fewer than were asked for does not mean that there are no more: another worker may have taken some of them
            // between the look at them and the lock.
            self.choose(page, places, &mut starts);
        }
        Ok(self.picks)
    }

    /// The next runs in the order of starting.
    async fn page(&mut self, wanted: usize, starts: usize) -> Result<Page, Failure> {
        let sql = self.tx.sql();
        let noted = self.tx.shared.plans.unreadable.ids();
        let args = |limit: usize| {
            let picked = self.picks.iter().map(|pick| pick.row.id);
            let known: Vec<Uuid> = picked
                .chain(noted.iter().copied())
                .map(|id| uuid(id.as_bytes()))
                .collect();
            let args = Args::none().with(self.name).with_all(self.foreign.to_vec());
            args.with_all(self.gate.full_keys())
                .with_all(known)
                .with(bound(limit))
                .with(self.gate.is_locked())
                .with_all(offered(self.request))
        };
        let mut calls = vec![(sql.claim_resumed.as_str(), args(wanted))];
        if starts > 0 {
            calls.push((sql.claim_fresh.as_str(), args(wanted.min(starts))));
        }
        let answers = self.tx.queries(calls).await?;
        let mut page = Page::default();
        page.resumed_until = page.add(&answers[0], false, wanted)?;
        if let Some(fresh) = answers.get(1) {
            page.fresh_until = page.add(fresh, self.gate.counts(), wanted.min(starts))?;
        }
        page.picks.sort_unstable_by_key(Pick::turn);
        Ok(page)
    }

    fn choose(&mut self, page: Page, places: usize, starts: &mut usize) {
        for pick in page.picks {
            // A run that its key held back has left a place for one that the page no longer had.
            let is_before = |until: Option<Turn>| until.is_none_or(|until| pick.turn() <= until);
            if self.picks.len() == places
                || !is_before(page.resumed_until)
                || *starts > 0 && !is_before(page.fresh_until)
            {
                return;
            }
            let key = pick.row.concurrency_key.as_deref();
            let fresh = pick.row.head.started_at.is_none();
            if fresh && *starts == 0 || key.is_some_and(|key| !self.gate.take(key)) {
                continue;
            }
            *starts -= usize::from(fresh);
            self.picks.push(pick);
        }
    }
}

/// Some of the runs of a queue, in the order of starting.
#[derive(Debug, Default)]
struct Page {
    picks: Vec<Pick>,
    /// Where those that ran before end in it, and those that never did, when there may be more: what comes after is not known.
    resumed_until: Option<Turn>,
    fresh_until: Option<Turn>,
}

impl Page {
    /// Adds one of the two kinds, of which `limit` were asked for. Where it ends, if there may be more.
    fn add(
        &mut self,
        rows: &[Row],
        counts: bool,
        limit: usize,
    ) -> Result<Option<Turn>, StoreError> {
        let rows = of_runs(rows)?;
        let is_full = rows.len() == limit;
        self.picks
            .extend(rows.into_iter().map(|row| Pick { row, counts }));
        Ok(self.picks.last().map(Pick::turn).filter(|_| is_full))
    }
}

/// Claims the picks by the rules.
async fn changes(
    tx: &mut Tx<'_>,
    request: &ClaimRequest,
    picks: Vec<Pick>,
    now: Timestamp,
) -> Result<Vec<Change>, Failure> {
    let plans = tx
        .shared
        .plans
        .get(tx, picks.iter().map(|pick| pick.row.plan))
        .await?;
    let touched = picks.iter().filter(|pick| !pick.row.is_untouched());
    let touched: Vec<Uuid> = touched.map(|pick| uuid(pick.row.id.as_bytes())).collect();
    let mut steps = HashMap::new();
    if !touched.is_empty() {
        steps = steps_of(
            &tx.query((&tx.sql().steps, Args::none().with_all(touched)))
                .await?,
        )?;
    }
    let mut changes = Vec::with_capacity(picks.len());
    for pick in picks {
        let plan = &plans[&pick.row.plan];
        let steps = match plan {
            Ok(plan) if pick.row.is_untouched() => StepStates::pending(plan),
            _ => steps.remove(&pick.row.id).unwrap_or_default(),
        };
        let run = pick.row.whole(&tx.shared.plans, plan, steps);
        if run.unreadable.is_some() {
            continue;
        }
        let mut edit = Edit::new(run, now);
        edit.claim(request.worker)?;
        let (run, transition) = edit.finish();
        changes.push(Change {
            run,
            written: Written::of(transition)?,
            rate_at: pick.counts.then_some(now),
        });
    }
    Ok(changes)
}

/// Writes what was taken, and finds out when there is more.
async fn finish(tx: Tx<'_>, look: &Look, taken: Taken) -> Result<Claimed, Failure> {
    let shared = tx.shared;
    let Taken {
        changes,
        now,
        limited,
        ..
    } = taken;
    if changes.is_empty() && limited.is_empty() {
        tx.roll_back().await;
        return Ok(look.nothing());
    }
    let names: Vec<&str> = limited.iter().map(String::as_str).collect();
    let mut calls = vec![write::changes(shared, &changes, now)];
    if !names.is_empty() {
        calls.extend(admit::questions(shared, &names, None));
    }
    let answers = tx.commit(calls).await?;
    if !changes.is_empty() {
        shared.marks.changed(false);
    }
    let mut next_at = look.next_due;
    if let [_, rows, keys] = answers.as_slice() {
        let opening = admit::read(rows, keys)?
            .into_values()
            .filter_map(|gate| gate.next_start());
        next_at = opening.filter(|at| *at > now).chain(next_at).min();
    }
    let runs: Vec<Run> = changes.into_iter().map(|change| change.run).collect();
    Ok(Claimed {
        runs,
        next_at,
        ..look.nothing()
    })
}

fn bound(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
