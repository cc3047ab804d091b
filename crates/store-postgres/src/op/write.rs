//! Writes transitions of locked runs, and the parts outside their rows: records, a snapshot,
//! requirements.

use std::collections::HashSet;

use surefoot::{Digest, Run, RunId, Snapshot, StoreError, Timestamp};
use tokio_postgres::Row;

use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::pipeline::Call;
use crate::row::{Heads, RecordRow, Steps, Written, get, run_id, uuid};
use crate::shared::Shared;
use crate::tx::Tx;

/// Change of a run whose row is locked.
#[derive(Debug)]
pub(super) struct Change {
    /// The run after the change.
    pub(super) run: Run,
    pub(super) written: Written,
    /// Set at a first start that the queue's rate counts.
    pub(super) rate_at: Option<Timestamp>,
}

/// Identifier of counts outside the batchers' tasks: rare enough to share its rows.
pub(super) const UNBATCHED_WRITER: i32 = 1;

/// The statement that writes changes.
pub(super) fn changes<'a>(shared: &'a Shared, changes: &'a [Change], now: Timestamp) -> Call<'a> {
    let mut heads = Heads::default();
    let mut steps = Steps::default();
    for change in changes {
        heads.add(change.run.id, None, &change.written, change.rate_at);
        steps.add(change.run.id, &change.written.steps);
    }
    let args = Args::none()
        .with(false)
        .with(now.as_micros())
        .with(UNBATCHED_WRITER);
    (&shared.sql.write_runs, steps.put(heads.put(args)))
}

/// Returns whether there may be work after these changes: a run waits for a worker, or one has
/// freed its slot.
pub(super) fn make_work(shared: &Shared, changes: &[Change]) -> bool {
    let waits = changes
        .iter()
        .any(|change| change.written.head.available_at.is_some());
    if waits {
        shared.set_backlog(true);
    }
    let ended = changes
        .iter()
        .any(|change| change.written.head.status.is_ended());
    waits
        || ended && shared.has_backlog()
        || changes
            .iter()
            .any(|change| change.written.head.cancel.is_some())
}

/// Queries needed before records and a snapshot are written.
pub(super) fn questions<'a>(shared: &'a Shared, written: &'a Written) -> Vec<Call<'a>> {
    let puts = written.records.iter().filter_map(|record| match record {
        RecordRow::Put { kind, name, .. } => Some((kind.as_str(), name.as_str())),
        RecordRow::Remove { .. } => None,
    });
    let (kinds, names): (Vec<&str>, Vec<&str>) = puts.unzip();
    let digests: Vec<&[u8]> = missing(written)
        .iter()
        .map(|digest| digest.as_bytes().as_slice())
        .collect();
    vec![
        (
            &shared.sql.record_owners,
            Args::none().with_all(kinds).with_all(names),
        ),
        (&shared.sql.known_blobs, Args::none().with_all(digests)),
    ]
}

/// Contents that the snapshot needs and does not bring.
fn missing(written: &Written) -> Vec<&Digest> {
    let Some(snapshot) = &written.snapshot else {
        return Vec::new();
    };
    let brought: HashSet<&Digest> = snapshot.contents.iter().map(|(digest, _)| digest).collect();
    snapshot
        .needs
        .iter()
        .filter(|digest| !brought.contains(digest))
        .collect()
}

/// Refuses what the answers to [`questions`] do not allow.
pub(super) fn check(run: RunId, written: &Written, answers: &[Vec<Row>]) -> Result<(), StoreError> {
    let [owners, known] = answers else {
        return Err(fault("two questions have two answers"));
    };
    for record in &written.records {
        let RecordRow::Put { kind, name, .. } = record else {
            continue;
        };
        for row in owners {
            let owner = run_id(row, 2)?;
            let same = get::<&str>(row, 0)? == kind && get::<&str>(row, 1)? == name;
            if same && owner != run {
                return Err(StoreError::RecordTaken {
                    kind: kind.clone(),
                    name: name.clone(),
                    owner,
                });
            }
        }
    }
    let known: HashSet<&[u8]> = known
        .iter()
        .map(|row| get(row, 0))
        .collect::<Result<_, _>>()?;
    match missing(written)
        .into_iter()
        .find(|digest| !known.contains(digest.as_bytes().as_slice()))
    {
        // A snapshot's contents must exist when it is written: a step that cannot be restored is
        // not completed.
        Some(digest) => Err(fault(format_args!(
            "a snapshot needs {digest}, which the store does not have"
        ))),
        None => Ok(()),
    }
}

/// Writes the records, the snapshot and the new requirements.
pub(super) async fn extras(
    tx: &mut Tx<'_>,
    run: RunId,
    written: &Written,
    now: Timestamp,
) -> Result<(), Failure> {
    let shared = tx.shared;
    let mut calls = Vec::new();
    if let Some(snapshot) = &written.snapshot {
        calls.extend(snapshot_calls(shared, run, snapshot));
    }
    if let Some(requires) = &written.requires {
        let args = Args::none()
            .with(uuid(run.as_bytes()))
            .with_all(requires.clone());
        calls.push((&shared.sql.set_requires, args));
    }
    let before = calls.len();
    // In one order for all, so that two runs that publish the same names do not deadlock; changes
    // of one name keep their order.
    let mut records: Vec<&RecordRow> = written.records.iter().collect();
    records.sort_by(|one, other| one.place().cmp(&other.place()));
    calls.extend(
        records
            .iter()
            .map(|record| record_call(shared, run, record, now)),
    );
    let answers = tx.queries(calls).await?;
    for (record, rows) in records.iter().zip(&answers[before..]) {
        if let RecordRow::Put { kind, name, .. } = record
            && rows.is_empty()
        {
            // Another run has published it since the check.
            return Err(taken_now(tx, kind, name).await?.into());
        }
    }
    Ok(())
}

fn snapshot_calls<'a>(shared: &'a Shared, run: RunId, snapshot: &'a Snapshot) -> [Call<'a>; 2] {
    let contents = snapshot.contents.iter();
    let (digests, contents): (Vec<&[u8]>, Vec<&[u8]>) = contents
        .map(|(digest, content)| (digest.as_bytes().as_slice(), content.as_slice()))
        .unzip();
    let needs: Vec<&[u8]> = snapshot
        .needs
        .iter()
        .map(|digest| digest.as_bytes().as_slice())
        .collect();
    [
        (
            &shared.sql.insert_blobs,
            Args::none().with_all(digests).with_all(contents),
        ),
        (
            &shared.sql.insert_snapshot_blobs,
            Args::none().with(uuid(run.as_bytes())).with_all(needs),
        ),
    ]
}

fn record_call<'a>(
    shared: &'a Shared,
    run: RunId,
    record: &'a RecordRow,
    now: Timestamp,
) -> Call<'a> {
    let run = uuid(run.as_bytes());
    match record {
        RecordRow::Put { kind, name, data } => {
            let args = Args::none()
                .with(kind.as_str())
                .with(name.as_str())
                .with(run);
            (
                &shared.sql.put_record,
                args.with(data.as_str()).with(now.as_micros()),
            )
        }
        RecordRow::Remove { kind, name } => (
            &shared.sql.remove_record,
            Args::none()
                .with(kind.as_str())
                .with(name.as_str())
                .with(run),
        ),
    }
}

async fn taken_now(tx: &mut Tx<'_>, kind: &str, name: &str) -> Result<StoreError, Failure> {
    let args = Args::none().with_all(vec![kind]).with_all(vec![name]);
    let rows = tx.query((&tx.sql().record_owners, args)).await?;
    let row = rows
        .first()
        .ok_or_else(|| fault("a record was published and removed concurrently"))?;
    Ok(StoreError::RecordTaken {
        kind: kind.to_owned(),
        name: name.to_owned(),
        owner: run_id(row, 2)?,
    })
}
