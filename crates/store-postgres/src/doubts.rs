//! Commits whose answer got lost: they may have taken place. When the same commit is sent again, it has the same token, by
//! which the database recognises it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use surefoot::RunId;
use surefoot::state::Lease;
use uuid::Uuid;

use crate::row::Written;

/// What was sent under a lease and is in doubt. A run has one writer, who sends one thing at a time.
#[derive(Debug)]
pub(crate) struct Doubts {
    open: Mutex<HashMap<RunId, Doubt>>,
    next: AtomicI64,
}

#[derive(Debug)]
struct Doubt {
    lease: Lease,
    written: Arc<Written>,
    token: i64,
}

/// A commit's token, and whether the commit was sent before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    pub(crate) value: i64,
    pub(crate) again: bool,
}

impl Default for Doubts {
    /// Tokens of different processes differ, as good as surely.
    fn default() -> Self {
        let random = Uuid::new_v4().as_u64_pair().0.cast_signed();
        Self { open: Mutex::default(), next: AtomicI64::new(random) }
    }
}

impl Doubts {
    /// The token to send this with: that of the time before, if it was sent before.
    pub(crate) fn token(&self, lease: Lease, written: &Written) -> Token {
        let open = self.open();
        let same = open.get(&lease.run).filter(|doubt| doubt.lease == lease && *doubt.written == *written);
        match same {
            Some(doubt) => Token { value: doubt.token, again: true },
            None => Token { value: self.next.fetch_add(1, Ordering::Relaxed), again: false },
        }
    }

    /// The answer got lost.
    pub(crate) fn keep(&self, lease: Lease, written: Arc<Written>, token: Token) {
        self.open().insert(lease.run, Doubt { lease, written, token: token.value });
    }

    /// It is known what became of the last commit of this run.
    pub(crate) fn settle(&self, run: RunId) {
        self.open().remove(&run);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<RunId, Doubt>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
