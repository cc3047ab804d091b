//! The outside world: what handlers did, kept where no worker's death reaches it.

use std::sync::Arc;

use serde_json::Value;
use surefoot::state::Lease;
use surefoot::{RunId, Timestamp};

use crate::life::Life;

/// Every call of a handler, in order.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) calls: Vec<Call>,
}

/// A call of a handler.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) run: RunId,
    pub(crate) step: usize,
    pub(crate) attempt: u32,
    /// Under which lease its worker believes to act; `None` when nothing ever gave it one.
    pub(crate) lease: Option<Lease>,
    pub(crate) undo: bool,
    /// The process that it runs in.
    pub(crate) life: Arc<Life>,
    pub(crate) began: Timestamp,
    pub(crate) ended: Option<(Timestamp, Ending)>,
}

/// End of a call.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Ending {
    /// It completed with this output.
    Completed(Value),
    /// It failed, or panicked, by itself.
    Failed,
    /// It sleeps or asks.
    Suspended,
    /// It was told that the run is no longer its worker's.
    Gone,
    /// Its future was dropped.
    Dropped,
}

impl Ledger {
    pub(crate) fn begin(&mut self, call: Call) -> usize {
        self.calls.push(call);
        self.calls.len() - 1
    }

    /// Notes the end of this call; the first end stays.
    pub(crate) fn end(&mut self, call: usize, at: Timestamp, ending: Ending) {
        self.calls[call].ended.get_or_insert((at, ending));
    }

    /// The newest call of a step under this lease.
    pub(crate) fn last(&self, lease: Lease, step: usize, undo: bool) -> Option<&Call> {
        let same =
            |call: &&Call| call.lease == Some(lease) && call.step == step && call.undo == undo;
        self.calls.iter().rev().find(same)
    }

    /// A call of this run and lease that goes on.
    pub(crate) fn open(&self, lease: Lease) -> Option<&Call> {
        self.calls
            .iter()
            .rev()
            .find(|call| call.lease == Some(lease) && call.ended.is_none())
    }

    /// Returns the number of calls of a step's undo.
    pub(crate) fn undos(&self, run: RunId, step: usize) -> usize {
        self.calls
            .iter()
            .filter(|call| call.run == run && call.step == step && call.undo)
            .count()
    }
}
