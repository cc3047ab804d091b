//! The operations, and their random strategies.

use std::time::Duration;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use surefoot::state::{Answer, CancelMode};

/// An operation. Runs, workers and leases are chosen by a number, modulo how many there are.
#[derive(Clone, Debug)]
pub(super) enum Op {
    Advance(Duration),
    Submit(Draft),
    Claim {
        worker: u8,
        limit: usize,
        knows_all: bool,
        has_forge: bool,
    },
    /// The holder of a lease, which may have ended long ago, writes.
    Work {
        lease: u8,
        act: Act,
    },
    Register,
    Heartbeat {
        worker: u8,
    },
    Deregister {
        worker: u8,
    },
    Reclaim,
    Cancel {
        run: u8,
        mode: CancelMode,
    },
    Retry {
        run: u8,
        from: Option<u8>,
    },
    Answer {
        run: u8,
        step: u8,
        answer: Answer,
    },
    Pause {
        queue: u8,
        paused: bool,
    },
    Limit {
        queue: u8,
        concurrency: Option<u32>,
        per_key: Option<u32>,
        only_if_new: bool,
    },
    Retain {
        queue: u8,
        age: Option<Duration>,
        count: Option<u64>,
    },
    Prune,
}

/// Random fields of a submission.
#[derive(Clone, Debug)]
pub(super) struct Draft {
    pub(super) workflow: u8,
    pub(super) key: Option<u8>,
    pub(super) unique: Option<u8>,
    pub(super) priority: i32,
    pub(super) tenant: Option<u8>,
    pub(super) needs_forge: bool,
    pub(super) wait: Duration,
    pub(super) start_on: Option<u8>,
}

/// An act of the holder of a lease. Acts that its rules forbid are skipped.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Start,
    Complete {
        record: Option<(bool, u8)>,
        files: Vec<u8>,
        /// True if the commit brings the files; otherwise it only names them.
        brings: bool,
    },
    /// Files come ahead of the commit.
    Upload(Vec<u8>),
    CompleteRun,
    Skip,
    Fail,
    Retry(Duration),
    Sleep(Duration),
    Ask,
    Report(u8),
    Checkpoint,
    Interrupt,
    HandOver,
    Release,
    Cancelled,
    Undo,
    UndoFailed,
}

/// Sequences long enough for a few runs to go through most of their life cycle.
pub(super) fn sequences() -> impl Strategy<Value = Vec<Op>> {
    vec(op(), 1..150)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => pause().prop_map(Op::Advance),
        6 => draft().prop_map(Op::Submit),
        6 => (any::<u8>(), 0..4usize, any::<[bool; 4]>())
            .prop_map(|(worker, limit, [a, b, c, d])| Op::Claim { worker, limit, knows_all: a || b, has_forge: c || d }),
        // Newer leases are drawn more often, since they are valid.
        12 => (prop_oneof![3 => 0..2u8, 1 => any::<u8>()], act()).prop_map(|(lease, act)| Op::Work { lease, act }),
        2 => Just(Op::Register),
        1 => any::<u8>().prop_map(|worker| Op::Heartbeat { worker }),
        1 => prop_oneof![1 => any::<u8>().prop_map(|worker| Op::Deregister { worker }), 2 => Just(Op::Reclaim)],
        2 => (any::<u8>(), mode()).prop_map(|(run, mode)| Op::Cancel { run, mode }),
        2 => (any::<u8>(), weighted(0.4, 0..4u8)).prop_map(|(run, from)| Op::Retry { run, from }),
        2 => (any::<u8>(), 0..4u8, answer()).prop_map(|(run, step, answer)| Op::Answer { run, step, answer }),
        2 => maintenance(),
    ]
}

fn maintenance() -> impl Strategy<Value = Op> {
    let few = || weighted(0.6, 0..3u32);
    prop_oneof![
        2 => (any::<u8>(), weighted(0.3, Just(()))).prop_map(|(queue, paused)| Op::Pause { queue, paused: paused.is_some() }),
        1 => (any::<u8>(), few(), few(), any::<bool>()).prop_map(|(queue, concurrency, per_key, only_if_new)| Op::Limit {
            queue,
            concurrency,
            per_key,
            only_if_new
        }),
        // Ages that no run has to the microsecond: "older than" is unspecified there.
        1 => (any::<u8>(), weighted(0.5, (0..8u64).prop_map(|half| Duration::from_millis(half * 500 + 250))),
              weighted(0.5, 0..3u64)).prop_map(|(queue, age, count)| Op::Retain { queue, age, count }),
        2 => Just(Op::Prune),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let small = |part, of: u8| weighted(part, 0..of);
    let wait = prop_oneof![3 => Just(Duration::ZERO), 1 => pause()];
    (
        0..4u8,
        small(0.4, 3),
        small(0.2, 2),
        -1..2i32,
        small(0.4, 2),
        wait,
        weighted(0.5, any::<u8>()),
        weighted(0.2, Just(())),
    )
        .prop_map(
            |(workflow, key, unique, priority, tenant, wait, start_on, forge)| Draft {
                workflow,
                key,
                unique,
                priority,
                tenant,
                needs_forge: forge.is_some(),
                wait,
                start_on,
            },
        )
}

fn act() -> impl Strategy<Value = Act> {
    let record = weighted(
        0.4,
        (
            weighted(0.7, Just(())).prop_map(|put| put.is_some()),
            0..2u8,
        ),
    );
    prop_oneof![
        3 => Just(Act::Start),
        7 => (record, vec(0..5u8, 0..3), weighted(0.8, Just(()))).prop_map(|(record, files, brings)| Act::Complete {
            record,
            files,
            brings: brings.is_some()
        }),
        2 => vec(0..5u8, 0..3).prop_map(Act::Upload),
        3 => Just(Act::CompleteRun),
        1 => Just(Act::Skip),
        2 => Just(Act::Fail),
        1 => pause().prop_map(Act::Retry),
        1 => pause().prop_map(Act::Sleep),
        1 => Just(Act::Ask),
        1 => (0..3u8).prop_map(Act::Report),
        1 => Just(Act::Checkpoint),
        1 => Just(Act::Interrupt),
        1 => Just(Act::HandOver),
        1 => Just(Act::Release),
        1 => Just(Act::Cancelled),
        1 => Just(Act::Undo),
        1 => Just(Act::UndoFailed),
    ]
}

/// Times that often coincide: half seconds, and the length of a lease.
fn pause() -> impl Strategy<Value = Duration> {
    prop_oneof![4 => (0..7u64).prop_map(|half| Duration::from_millis(half * 500)), 1 => Just(crate::scene::LEASE)]
}

fn mode() -> impl Strategy<Value = CancelMode> {
    prop_oneof![Just(CancelMode::Stop), Just(CancelMode::Undo)]
}

fn answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        Just(Answer::Rerun),
        Just(Answer::Skip),
        Just(Answer::Fail),
        Just(Answer::Approve),
        Just(Answer::Reject),
    ]
}
