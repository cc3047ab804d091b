//! A watched run: how it stands, and the last of what happened to it, for all who watch it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use axum::body::Bytes;
use surefoot::{Event, Run, RunId, StoreError};
use tokio::sync::watch;

use super::text;

/// Messages that are kept for those who are a little behind, or come back; beyond, the store is asked.
pub(super) const KEPT: usize = 512;

/// What they may take up in all.
const KEPT_BYTES: usize = 1 << 20;

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
    /// The reader has not begun.
    New,
    /// There is no such run, or the store did not answer at the beginning.
    Failed(StoreError),
    Live(Live),
}

#[derive(Debug)]
struct Live {
    now: Arc<Now>,
    kept: VecDeque<(u64, Bytes)>,
    kept_bytes: usize,
    ended: bool,
}

/// The run as it stands, after all of its events up to `seq`.
#[derive(Debug)]
pub(super) struct Now {
    pub(super) run: Run,
    pub(super) seq: u64,
    text: OnceLock<Bytes>,
}

/// What there is for a watcher that has seen all up to some event.
#[derive(Debug)]
pub(super) enum News {
    /// Messages, and the last one's number.
    Messages(Vec<Bytes>, u64),
    /// It is too far behind: the store knows what is between.
    Behind(Arc<Now>),
    /// Nothing yet.
    None,
    /// Nothing more will come.
    Ended(Arc<Now>),
}

impl Now {
    /// The snapshot that a new watcher is given; written once for all of them.
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

    fn tell(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn fail(&self, error: StoreError) {
        *self.state() = State::Failed(error);
        self.tell();
    }

    /// The run, read after `events`, the last of its history; `ended` when nothing comes after them.
    pub(super) fn begin(&self, run: Run, seq: u64, events: &[Event], ended: bool) {
        let mut live = Live::new(&run, seq);
        live.add(run, seq, events);
        live.ended = ended;
        *self.state() = State::Live(live);
        self.tell();
    }

    /// The run, read after `events`, which come right after those that were added before.
    pub(super) fn add(&self, run: Run, seq: u64, events: &[Event]) {
        if let State::Live(live) = &mut *self.state() {
            live.add(run, seq, events);
        }
        self.tell();
    }

    /// The run has ended, and every event of it was added.
    pub(super) fn end(&self) {
        if let State::Live(live) = &mut *self.state() {
            live.ended = true;
        }
        self.tell();
    }

    /// How the run stands, once that is known.
    pub(super) async fn now(&self) -> Result<Arc<Now>, StoreError> {
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

    /// What there is for whoever has seen all up to `seen`.
    pub(super) fn news(&self, seen: u64) -> News {
        match &*self.state() {
            State::Live(live) => live.news(seen),
            State::New | State::Failed(_) => News::None,
        }
    }
}

impl Live {
    fn new(run: &Run, seq: u64) -> Self {
        let now = Arc::new(Now {
            run: run.clone(),
            seq,
            text: OnceLock::new(),
        });
        Self {
            now,
            kept: VecDeque::new(),
            kept_bytes: 0,
            ended: false,
        }
    }

    fn add(&mut self, run: Run, seq: u64, events: &[Event]) {
        for event in events {
            let message = text::change(event, &run);
            self.kept_bytes += message.len();
            self.kept.push_back((event.seq, message));
        }
        while self.kept.len() > KEPT || self.kept_bytes > KEPT_BYTES {
            let Some((_, message)) = self.kept.pop_front() else {
                break;
            };
            self.kept_bytes -= message.len();
        }
        self.now = Arc::new(Now {
            run,
            seq,
            text: OnceLock::new(),
        });
    }

    fn news(&self, seen: u64) -> News {
        if seen >= self.now.seq {
            return if self.ended {
                News::Ended(self.now.clone())
            } else {
                News::None
            };
        }
        let next = self.kept.iter().position(|(seq, _)| *seq == seen + 1);
        let Some(next) = next else {
            return News::Behind(self.now.clone());
        };
        let messages = self
            .kept
            .range(next..)
            .map(|(_, message)| message.clone())
            .collect();
        News::Messages(messages, self.now.seq)
    }
}
