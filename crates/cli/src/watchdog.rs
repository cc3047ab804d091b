//! Ends the process when one of its runtimes stands still, or when it does not end in time.
//!
//! A worker whose threads are blocked does nothing and answers nothing, yet may go on renewing its
//! lease. When it ends, its lease expires and another takes over; a supervisor starts it again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use crate::out;

/// Interval at which each runtime ticks, and at which the watchdog looks.
const TICK: Duration = Duration::from_millis(500);

/// Looks in a row that find no tick before the process ends: 10 s.
///
/// Looks are counted, not time: a process that was frozen as a whole, or a machine that slept,
/// missed none.
const MAX_MISSED: u32 = 20;

/// The exit status of a process that ended itself.
const STATUS: i32 = 4;

/// The time at which the process is to be gone.
static DEADLINE: Mutex<Option<Instant>> = Mutex::new(None);

/// Watches these runtimes from a thread of its own.
pub(crate) fn start(runtimes: &[(&'static str, &Handle)]) {
    let mut watched: Vec<Watched> = runtimes
        .iter()
        .map(|(name, runtime)| Watched::new(name, runtime))
        .collect();
    let watching = thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
        loop {
            thread::sleep(TICK);
            if let Some(name) = watched.iter_mut().find_map(Watched::look) {
                end(&format!("the threads for {name} are blocked: ending the process, its runs go on elsewhere"));
            }
            if is_overdue() {
                end("the process did not end in time: ending it now");
            }
        }
    });
    if let Err(error) = watching {
        tracing::warn!(%error, "cannot start the watchdog");
    }
}

/// Ends the process after `time` at the latest, whatever it waits for then. Of several deadlines
/// the first one holds.
pub(crate) fn end_within(time: Duration) {
    let mut deadline = DEADLINE.lock().unwrap_or_else(PoisonError::into_inner);
    let new = Instant::now() + time;
    *deadline = Some(deadline.map_or(new, |old| old.min(new)));
}

fn is_overdue() -> bool {
    let deadline = *DEADLINE.lock().unwrap_or_else(PoisonError::into_inner);
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

fn end(why: &str) -> ! {
    out::say(why);
    std::process::exit(STATUS)
}

/// A runtime, as the watchdog sees it.
struct Watched {
    name: &'static str,
    ticks: Arc<AtomicU64>,
    seen: u64,
    missed: u32,
}

impl Watched {
    fn new(name: &'static str, runtime: &Handle) -> Self {
        let ticks = Arc::new(AtomicU64::new(0));
        let ticking = ticks.clone();
        runtime.spawn(async move {
            loop {
                ticking.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(TICK).await;
            }
        });
        Self {
            name,
            ticks,
            seen: 0,
            missed: 0,
        }
    }

    /// Looks for a tick since the last look. Gives the name of a runtime that missed too many.
    fn look(&mut self) -> Option<&'static str> {
        let ticks = self.ticks.load(Ordering::Relaxed);
        self.missed = if ticks == self.seen {
            self.missed + 1
        } else {
            0
        };
        self.seen = ticks;
        (self.missed > MAX_MISSED).then_some(self.name)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Looks until there is a tick.
    fn ticks(watched: &mut Watched) {
        let seen = watched.seen;
        while watched.seen == seen {
            watched.missed = 0;
            assert_eq!(watched.look(), None);
            thread::yield_now();
        }
    }

    #[test]
    fn a_runtime_with_blocked_threads_is_named_and_one_that_ticks_is_not() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let mut watched = Watched::new("steps", runtime.handle());
        ticks(&mut watched);
        let (blocked, is_blocked) = mpsc::channel();
        let (release, until) = mpsc::channel::<()>();
        runtime.spawn(async move {
            blocked.send(()).unwrap();
            // A thread that waits for what never comes, as in a blocking call.
            let _ = until.recv();
        });
        is_blocked.recv().unwrap();
        watched.look();
        let looks = (0..MAX_MISSED).map(|_| watched.look()).collect::<Vec<_>>();
        assert_eq!(
            looks.iter().flatten().count(),
            1,
            "only the last look is one too many: {looks:?}"
        );
        drop(release);
        ticks(&mut watched);
        assert_eq!(watched.look(), None);
    }
}
