//! A watched run: its current state and its last events, shared by all watchers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::body::Bytes;
use surefoot::{Event, Run, RunId, StoreError};
use tokio::sync::watch;

use super::text;

/// Number of messages buffered for watchers that lag or reconnect. Older ones are read from the
/// store.
pub(super) const MAX_BUFFERED: usize = 512;

/// Size limit of the buffered messages.
const MAX_BUFFERED_BYTES: usize = 1 << 20;

/// A watched run.
#[derive(Debug)]
pub(super) struct Topic {
    pub(super) run: RunId,
    state: Mutex<State>,
    /// Counts changes of the state.
    pub(super) changed: watch::Sender<u64>,
}

#[derive(Debug)]
enum State {
    /// The reader has not started.
    New,
    /// There is no such run, or the first read failed.
    Failed(StoreError),
    Live(Live),
}

#[derive(Debug)]
struct Live {
    now: Arc<CurrentState>,
    buffered: VecDeque<(u64, Bytes)>,
    buffered_bytes: usize,
    ended: bool,
}

/// The run after all of its events up to `seq`.
#[derive(Debug)]
pub(super) struct CurrentState {
    pub(super) run: Run,
    pub(super) seq: u64,
    text: OnceLock<Bytes>,
}

/// The messages for a watcher that has seen all events up to a given one.
#[derive(Debug)]
pub(super) enum Updates {
    /// Messages, and the last one's sequence number.
    Messages(Vec<Bytes>, u64),
    /// The watcher is too far behind; the missing events must be read from the store.
    Behind(Arc<CurrentState>),
    /// Nothing new.
    None,
    /// The run has ended and no more will come.
    Ended(Arc<CurrentState>),
}

impl CurrentState {
    /// The snapshot for a new watcher, formatted once for all.
    pub(super) fn snapshot(&self) -> Bytes {
        self.text
            .get_or_init(|| text::snapshot(&self.run, self.seq))
            .clone()
    }
}

impl Topic {
    pub(super) fn new(run: RunId) -> Self {
        Self {
            run,
            state: Mutex::new(State::New),
            changed: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn notify_watchers(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn fail(&self, error: StoreError) {
        *self.state() = State::Failed(error);
        self.notify_watchers();
    }

    /// Sets the run, read after `events`, the last ones of its history. `ended` means that none
    /// follow.
    pub(super) fn begin(&self, run: Run, seq: u64, events: &[Event], ended: bool) {
        let mut live = Live::new(&run, seq);
        live.add(run, seq, events);
        live.ended = ended;
        *self.state() = State::Live(live);
        self.notify_watchers();
    }

    /// Adds the run, read after `events`, which follow those added before.
    pub(super) fn add(&self, run: Run, seq: u64, events: &[Event]) {
        if let State::Live(live) = &mut *self.state() {
            live.add(run, seq, events);
        }
        self.notify_watchers();
    }

    /// Marks the run as ended; every event has been added.
    pub(super) fn end(&self) {
        if let State::Live(live) = &mut *self.state() {
            live.ended = true;
        }
        self.notify_watchers();
    }

    /// The current state, once it is known.
    pub(super) async fn now(&self) -> Result<Arc<CurrentState>, StoreError> {
        let mut changed = self.changed.subscribe();
        loop {
            match &*self.state() {
                State::New => {}
                State::Failed(error) => return Err(error.clone()),
                State::Live(live) => return Ok(live.now.clone()),
            }
            if changed.changed().await.is_err() {
                return Err(StoreError::Unavailable("the server stops".to_owned()));
            }
        }
    }

    /// The messages for a watcher that has seen all events up to `seen`.
    pub(super) fn updates_after(&self, seen: u64) -> Updates {
        match &*self.state() {
            State::Live(live) => live.updates_after(seen),
            State::New | State::Failed(_) => Updates::None,
        }
    }
}

impl Live {
    fn new(run: &Run, seq: u64) -> Self {
        let now = Arc::new(CurrentState {
            run: run.clone(),
            seq,
            text: OnceLock::new(),
        });
        Self {
            now,
            buffered: VecDeque::new(),
            buffered_bytes: 0,
            ended: false,
        }
    }

    fn add(&mut self, run: Run, seq: u64, events: &[Event]) {
        for event in events {
            let message = text::change(event, &run);
            self.buffered_bytes += message.len();
            self.buffered.push_back((event.seq, message));
        }
        while self.buffered.len() > MAX_BUFFERED || self.buffered_bytes > MAX_BUFFERED_BYTES {
            let Some((_, message)) = self.buffered.pop_front() else {
                break;
            };
            self.buffered_bytes -= message.len();
        }
        self.now = Arc::new(CurrentState {
            run,
            seq,
            text: OnceLock::new(),
        });
    }

    fn updates_after(&self, seen: u64) -> Updates {
        if seen >= self.now.seq {
            return if self.ended {
                Updates::Ended(self.now.clone())
            } else {
                Updates::None
            };
        }
        let next = self.buffered.iter().position(|(seq, _)| *seq == seen + 1);
        let Some(next) = next else {
            return Updates::Behind(self.now.clone());
        };
        let messages = self
            .buffered
            .range(next..)
            .map(|(_, message)| message.clone())
            .collect();
        Updates::Messages(messages, self.now.seq)
    }
}
