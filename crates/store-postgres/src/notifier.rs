//! Hints to this process and to the others.
//!
//! Other processes are notified by NOTIFY, separately from the commits: a NOTIFY in each
//! transaction would make the commits of all processes wait for one another. One NOTIFY is in
//! flight at a time; the next covers what happens meanwhile. It is not made durable, because it is
//! only a hint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::args::Args;
use crate::failure::Failure;
use crate::shared::Shared;

/// The channels of [`surefoot::store::Hints`], and the pending notifications of other processes.
#[derive(Clone, Debug)]
pub(crate) struct Notifier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    work: watch::Sender<()>,
    any: watch::Sender<()>,
    /// Identifies this process in its notifications, so that it ignores its own.
    name: String,
    pending_work: AtomicBool,
    pending_any: AtomicBool,
    wake: Notify,
    /// Ends the pause after a NOTIFY early.
    work_arrived: Notify,
}

/// Pauses between two NOTIFYs: about claimable work, and about anything else.
const WORK_PAUSE: Duration = Duration::from_millis(4);
const ANY_PAUSE: Duration = Duration::from_millis(25);

/// Interval of the check of the clock while there is nothing to send.
const CLOCK_CHECK_INTERVAL: Duration = Duration::from_secs(10);

impl Default for Notifier {
    fn default() -> Self {
        let name = Uuid::new_v4().simple().to_string();
        let work = watch::Sender::new(());
        let any = watch::Sender::new(());
        let pending_work = AtomicBool::new(false);
        let pending_any = AtomicBool::new(false);
        Self(Arc::new(Inner {
            work,
            any,
            name,
            pending_work,
            pending_any,
            wake: Notify::new(),
            work_arrived: Notify::new(),
        }))
    }
}

impl Notifier {
    pub(crate) fn work(&self) -> watch::Receiver<()> {
        self.0.work.subscribe()
    }

    pub(crate) fn any(&self) -> watch::Receiver<()> {
        self.0.any.subscribe()
    }

    /// Signals a change by this process; with `work`, a run may have become claimable, or a cancel
    /// was requested.
    pub(crate) fn changed(&self, work: bool) {
        self.signal(work);
        if work {
            self.0.pending_work.store(true, Ordering::Release);
            self.0.work_arrived.notify_one();
        }
        self.0.pending_any.store(true, Ordering::Release);
        self.0.wake.notify_one();
    }

    /// Signals a change by another process.
    pub(crate) fn signal(&self, work: bool) {
        if work {
            self.0.work.send_replace(());
        }
        self.0.any.send_replace(());
    }

    /// Handles the payload of a NOTIFY. This process's own is ignored; an unknown one means that
    /// there may be work.
    pub(crate) fn receive(&self, payload: &str) {
        let (what, by) = payload.split_once(' ').unwrap_or((payload, ""));
        if by != self.0.name {
            self.signal(what != "any");
        }
    }

    fn take_pending(&self) -> Option<bool> {
        let work = self.0.pending_work.swap(false, Ordering::AcqRel);
        let any = self.0.pending_any.swap(false, Ordering::AcqRel);
        (work || any).then_some(work)
    }
}

/// Sends notifications, and keeps the clock fresh. Never returns.
pub(crate) async fn run(shared: Arc<Shared>, channel: Option<String>) {
    let notifier = shared.notifier.clone();
    loop {
        let _idle = tokio::time::timeout(CLOCK_CHECK_INTERVAL, notifier.0.wake.notified()).await;
        if shared.clock.is_stale() {
            // The next attempt, or a heartbeat, makes up for it.
            let _missed = shared.within(shared.sample_clock()).await;
        }
        let Some(work) = notifier.take_pending() else {
            continue;
        };
        if let Some(channel) = &channel {
            // A lost hint does no harm: other processes poll.
            let _lost = shared
                .within(send_notification(&shared, channel, work))
                .await;
        }
        pause(&notifier, work).await;
    }
}

/// Waits before the next NOTIFY; a hint of work ends the pause early. Other hints do not even wake
/// this task: they come with every commit, and waking another thread costs as much as preparing a
/// commit.
async fn pause(notifier: &Notifier, work: bool) {
    tokio::time::sleep(WORK_PAUSE).await;
    let over = tokio::time::Instant::now() + ANY_PAUSE;
    while !work && !notifier.0.pending_work.load(Ordering::Acquire) {
        if tokio::time::timeout_at(over, notifier.0.work_arrived.notified())
            .await
            .is_err()
        {
            break;
        }
    }
}

async fn send_notification(shared: &Shared, channel: &str, work: bool) -> Result<(), Failure> {
    let payload = format!(
        "{} {}",
        if work { "work" } else { "any" },
        shared.notifier.0.name
    );
    let statement = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)";
    shared
        .query((statement, Args::none().with(channel).with(payload)))
        .await
        .map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    /// Duration of a pause during which a hint arrives.
    async fn paused(notifier: &Notifier, work: bool) -> Duration {
        let begin = Instant::now();
        let news = async {
            tokio::time::sleep(ANY_PAUSE / 2).await;
            notifier.changed(work);
        };
        tokio::join!(pause(notifier, false), news);
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_of_work_ends_a_pause_early_and_other_hints_follow_it() {
        let notifier = Notifier::default();
        assert_eq!(paused(&notifier, false).await, WORK_PAUSE + ANY_PAUSE);
        let woken = tokio::time::timeout(Duration::ZERO, notifier.0.wake.notified()).await;
        assert_eq!(
            (woken.is_ok(), notifier.take_pending()),
            (true, Some(false))
        );
        assert!(paused(&notifier, true).await < ANY_PAUSE, "work");
        assert_eq!(notifier.take_pending(), Some(true));
        assert_eq!(notifier.take_pending(), None, "woken once");
    }
}
