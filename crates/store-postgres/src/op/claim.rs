//! Claims runs for a worker: the highest priority first, then the oldest, within the limits of
//! their queues.
//!
//! An overview query says whether there is claimable work; an idle worker asks nothing else. The
//! claim then reads only the partial indexes of claimable runs, queue by queue, and skips rows that
//! another worker is claiming. Queues with limits are locked and counted first; the others are not.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;

use surefoot::state::Edit;
use surefoot::store::{ClaimRequest, Claimed};
use surefoot::{Run, RunId, StoreError, Timestamp};
use tokio_postgres::Row;
use uuid::Uuid;

use super::admit::{self, Admission};
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
        // Unreadable runs have taken the turns of others; the next pass skips them.
        if !claimed.runs.is_empty() || !skipped {
            return Ok(claimed);
        }
    }
    Ok(Claimed {
        held_back: true,
        ..Claimed::default()
    })
}

/// Passes over the queues in one claim. A further pass happens only if the previous one met nothing
/// but unreadable runs.
const MAX_PASSES: usize = 64;

/// Makes a pass over the queues. Returns whether it met an unreadable run.
async fn pass(shared: &Shared, request: &ClaimRequest) -> Result<(Claimed, bool), Failure> {
    let mut overview = Overview::take(shared, request).await?;
    if overview.is_due {
        let promote = Args::none().with(overview.now.as_micros());
        shared.query((&shared.sql.promote_due, promote)).await?;
        overview = Overview::take(shared, request).await?;
    }
    shared.set_backlog(!overview.queues.is_empty());
    if request.limit == 0 || !overview.is_cancelling && overview.queues.is_empty() {
        return Ok((overview.nothing(), false));
    }
    let mut tx = Tx::begin(shared).await?;
    let taken = take(&mut tx, request, &overview).await;
    let taken = match taken {
        Ok(taken) => taken,
        Err(failure) => {
            tx.roll_back().await;
            return Err(failure);
        }
    };
    let skipped = taken.skipped;
    Ok((finish(tx, &overview, taken).await?, skipped))
}

/// Overview of claimable work.
#[derive(Debug)]
struct Overview {
    now: Timestamp,
    is_cancelling: bool,
    is_due: bool,
    next_due: Option<Timestamp>,
    plans: Vec<i32>,
    /// Queues with claimable runs, and whether they have limits.
    queues: Vec<(String, bool)>,
}

impl Overview {
    /// Result of a claim without runs.
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
            .with(shared.clock.time_parameter());
        let rows = shared.query((&shared.sql.claim_overview, args)).await?;
        let row = rows
            .first()
            .ok_or_else(|| fault("an overview gives one row"))?;
        if !get::<bool>(row, 1)? {
            return Err(StoreError::LeaseLost.into());
        }
        let now = time(row, 0)?;
        shared.clock.record(asked, now);
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

/// A run chosen by the claim; its row is locked.
#[derive(Debug)]
struct Pick {
    row: RunRow,
    /// True for a first start in a queue with a rate.
    counts: bool,
}

/// Claim order.
type Turn = (Reverse<i32>, RunId);

impl Pick {
    fn turn(&self) -> Turn {
        (Reverse(self.row.priority), self.row.id)
    }
}

/// Claimed runs, ready to be written.
struct Taken {
    changes: Vec<Change>,
    now: Timestamp,
    /// Queues with limits.
    limited: Vec<String>,
    /// True if a run was unreadable.
    skipped: bool,
}

async fn take(
    tx: &mut Tx<'_>,
    request: &ClaimRequest,
    overview: &Overview,
) -> Result<Taken, Failure> {
    let shared = tx.shared;
    let plans = shared.plans.get(tx, overview.plans.iter().copied()).await?;
    let unclaimable = unclaimable_plans(&plans, request);
    let mut picks = Vec::new();
    if overview.is_cancelling {
        picks = cancelling(tx, &unclaimable, request).await?;
    }
    let room = request.limit - picks.len();
    let names: Vec<&str> = overview
        .queues
        .iter()
        .filter(|(_, limited)| *limited)
        .map(|(name, _)| name.as_str())
        .collect();
    let mut admissions = if names.is_empty() {
        HashMap::new()
    } else {
        admit::admissions(tx, &names, None).await?
    };
    // They take slots too, though nothing holds them back.
    for pick in &picks {
        if let Some(admission) = admissions.get_mut(pick.row.queue()) {
            admission.occupy(pick.row.concurrency_key.as_deref());
        }
    }
    let now = admissions
        .values()
        .find_map(|admission| admission.now)
        .unwrap_or_else(|| shared.now());
    let mut rest = Vec::new();
    for (name, _) in &overview.queues {
        let mut admission = admissions.remove(name).unwrap_or_default();
        rest.extend(
            QueueScan {
                tx,
                name,
                unclaimable: &unclaimable,
                request,
                admission: &mut admission,
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

/// Plans that the worker cannot run, or that this build cannot read.
fn unclaimable_plans(plans: &HashMap<i32, Plan>, request: &ClaimRequest) -> Vec<i32> {
    let is_known = |plan: &Plan| plan.as_ref().is_ok_and(|plan| request.fits(plan));
    plans
        .iter()
        .filter(|(_, plan)| !is_known(plan))
        .map(|(id, _)| *id)
        .collect()
}

/// Resources that the worker offers.
fn offered(request: &ClaimRequest) -> Vec<String> {
    request.resources.iter().cloned().collect()
}

async fn cancelling(
    tx: &mut Tx<'_>,
    unclaimable: &[i32],
    request: &ClaimRequest,
) -> Result<Vec<Pick>, Failure> {
    let unreadable: Vec<Uuid> = tx
        .shared
        .plans
        .unreadable
        .ids()
        .iter()
        .map(|id| uuid(id.as_bytes()))
        .collect();
    let args = Args::none()
        .with_all(unclaimable.to_vec())
        .with_all(offered(request));
    let args = args.with(bound(request.limit)).with_all(unreadable);
    let rows = tx.query((&tx.sql().claim_cancelling, args)).await?;
    Ok(of_runs(&rows)?
        .into_iter()
        .map(|row| Pick { row, counts: false })
        .collect())
}

/// Picks the next runs of one queue.
struct QueueScan<'w, 'tx> {
    tx: &'w mut Tx<'tx>,
    name: &'w str,
    unclaimable: &'w [i32],
    request: &'w ClaimRequest,
    admission: &'w mut Admission,
    picks: Vec<Pick>,
}

impl QueueScan<'_, '_> {
    /// Picks at most `room` runs.
    async fn picks(mut self, room: usize) -> Result<Vec<Pick>, Failure> {
        let free_slots = self.admission.free_slots().min(room);
        let mut allowed_starts = self.admission.allowed_starts();
        while self.picks.len() < free_slots {
            let page = self
                .page(free_slots - self.picks.len(), allowed_starts)
                .await?;
            if page.picks.is_empty() {
                break;
            }
            // Fewer rows than requested do not mean that there are no more: another worker may have
            // claimed some of them between the query and the lock.
            self.choose(page, free_slots, &mut allowed_starts);
        }
        Ok(self.picks)
    }

    /// Reads the next runs in claim order.
    async fn page(&mut self, wanted: usize, allowed_starts: usize) -> Result<Page, Failure> {
        let sql = self.tx.sql();
        let unreadable = self.tx.shared.plans.unreadable.ids();
        let args = |limit: usize| {
            let picked = self.picks.iter().map(|pick| pick.row.id);
            let known: Vec<Uuid> = picked
                .chain(unreadable.iter().copied())
                .map(|id| uuid(id.as_bytes()))
                .collect();
            let args = Args::none()
                .with(self.name)
                .with_all(self.unclaimable.to_vec());
            args.with_all(self.admission.full_keys())
                .with_all(known)
                .with(bound(limit))
                .with(self.admission.is_locked())
                .with_all(offered(self.request))
        };
        let mut calls = vec![(sql.claim_resumed.as_str(), args(wanted))];
        if allowed_starts > 0 {
            calls.push((sql.claim_fresh.as_str(), args(wanted.min(allowed_starts))));
        }
        let answers = self.tx.queries(calls).await?;
        let mut page = Page::default();
        page.resumed_until = page.add(&answers[0], false, wanted)?;
        if let Some(fresh) = answers.get(1) {
            page.fresh_until =
                page.add(fresh, self.admission.counts(), wanted.min(allowed_starts))?;
        }
        page.picks.sort_unstable_by_key(Pick::turn);
        Ok(page)
    }

    fn choose(&mut self, page: Page, free_slots: usize, allowed_starts: &mut usize) {
        for pick in page.picks {
            // A run held back by its key has left its slot to one that the page did not reach.
            let is_before = |until: Option<Turn>| until.is_none_or(|until| pick.turn() <= until);
            if self.picks.len() == free_slots
                || !is_before(page.resumed_until)
                || *allowed_starts > 0 && !is_before(page.fresh_until)
            {
                return;
            }
            let key = pick.row.concurrency_key.as_deref();
            let fresh = pick.row.head.started_at.is_none();
            if fresh && *allowed_starts == 0 || key.is_some_and(|key| !self.admission.take(key)) {
                continue;
            }
            *allowed_starts -= usize::from(fresh);
            self.picks.push(pick);
        }
    }
}

/// Some of the runs of a queue, in claim order.
#[derive(Debug, Default)]
struct Page {
    picks: Vec<Pick>,
    /// Ends of the resumed and the fresh runs within the page, if there may be more: what follows
    /// is unknown.
    resumed_until: Option<Turn>,
    fresh_until: Option<Turn>,
}

impl Page {
    /// Adds runs of one kind, of which `limit` were requested. Returns where it ends, if there may
    /// be more.
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
        Ok(if is_full {
            self.picks.last().map(Pick::turn)
        } else {
            None
        })
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

/// Writes the claimed runs, and determines when there will be more.
async fn finish(tx: Tx<'_>, overview: &Overview, taken: Taken) -> Result<Claimed, Failure> {
    let shared = tx.shared;
    let Taken {
        changes,
        now,
        limited,
        ..
    } = taken;
    if changes.is_empty() && limited.is_empty() {
        tx.roll_back().await;
        return Ok(overview.nothing());
    }
    let names: Vec<&str> = limited.iter().map(String::as_str).collect();
    let mut calls = vec![write::changes(shared, &changes, now)];
    if !names.is_empty() {
        calls.extend(admit::questions(shared, &names, None));
    }
    let answers = tx.commit(calls).await?;
    if !changes.is_empty() {
        shared.notifier.changed(false);
    }
    let mut next_at = overview.next_due;
    if let [_, rows, keys] = answers.as_slice() {
        let opening = admit::read(rows, keys)?
            .into_values()
            .filter_map(|admission| admission.next_start());
        next_at = opening.filter(|at| *at > now).chain(next_at).min();
    }
    let runs: Vec<Run> = changes.into_iter().map(|change| change.run).collect();
    Ok(Claimed {
        runs,
        next_at,
        ..overview.nothing()
    })
}

fn bound(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
