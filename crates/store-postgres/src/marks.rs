//! Hints, to this process and to the others.
//!
//! Others are told by NOTIFY, apart from the commits that it speaks of: a NOTIFY in each transaction makes their commits wait
//! for one another. One is under way at a time; what happens meanwhile is told by the next. It is not made durable, for it
//! is only a hint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::args::Args;
use crate::failure::Failure;
use crate::shared::Shared;

/// The channels of [`surefoot::store::Hints`], and what others are still to be told.
#[derive(Clone, Debug)]
pub(crate) struct Marks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    work: watch::Sender<()>,
    any: watch::Sender<()>,
    /// Names this process in what it tells: it need not hear itself.
    name: String,
    tell_work: AtomicBool,
    tell_any: AtomicBool,
    tell: Notify,
    /// Cuts the pause after a NOTIFY short.
    hurry: Notify,
}

/// Between two NOTIFYs: of work that may be had, and of anything else.
const WORK_PAUSE: Duration = Duration::from_millis(4);
const ANY_PAUSE: Duration = Duration::from_millis(25);

/// How often to see whether the clock has to be looked at, when nothing is to be told.
const IDLE: Duration = Duration::from_secs(10);

impl Default for Marks {
    fn default() -> Self {
        let name = Uuid::new_v4().simple().to_string();
        let work = watch::Sender::new(());
        let any = watch::Sender::new(());
        let tell_work = AtomicBool::new(false);
        let tell_any = AtomicBool::new(false);
        Self(Arc::new(Inner {
            work,
            any,
            name,
            tell_work,
            tell_any,
            tell: Notify::new(),
            hurry: Notify::new(),
        }))
    }
}

impl Marks {
    pub(crate) fn work(&self) -> watch::Receiver<()> {
        self.0.work.subscribe()
    }

    pub(crate) fn any(&self) -> watch::Receiver<()> {
        self.0.any.subscribe()
    }

    /// This process has changed something; with `work`, a run may have become claimable, or a cancel was asked for.
    pub(crate) fn changed(&self, work: bool) {
        self.mark(work);
        if work {
            self.0.tell_work.store(true, Ordering::Release);
            self.0.hurry.notify_one();
        }
        self.0.tell_any.store(true, Ordering::Release);
        self.0.tell.notify_one();
    }

    /// Another process has changed something.
    pub(crate) fn mark(&self, work: bool) {
        if work {
            self.0.work.send_replace(());
        }
        self.0.any.send_replace(());
    }

    /// What the payload of a NOTIFY says: nothing, when it is this process's own. One that makes no sense says that there may
    /// be work.
    pub(crate) fn heard(&self, payload: &str) {
        let (what, by) = payload.split_once(' ').unwrap_or((payload, ""));
        if by != self.0.name {
            self.mark(what != "any");
        }
    }

    fn take(&self) -> Option<bool> {
        let work = self.0.tell_work.swap(false, Ordering::AcqRel);
        let any = self.0.tell_any.swap(false, Ordering::AcqRel);
        (work || any).then_some(work)
    }
}

/// Tells others, and keeps the clock fresh. Never returns.
pub(crate) async fn run(shared: Arc<Shared>, channel: Option<String>) {
    let marks = shared.marks.clone();
    loop {
        let _idle = tokio::time::timeout(IDLE, marks.0.tell.notified()).await;
        if shared.clock.is_stale() {
            // The next look, or a heartbeat, makes up for it.
            let _missed = shared.within(shared.look_at_clock()).await;
        }
        let Some(work) = marks.take() else { continue };
        if let Some(channel) = &channel {
            // Lost hints do no harm: others poll.
            let _lost = shared.within(tell(&shared, channel, work)).await;
        }
        pause(&marks, work).await;
    }
}

/// Waits before the next NOTIFY; news of work cuts it short. Of other news it is not even woken: it comes with every commit, and a
/// wake-up of another thread takes as long as the making ready of one.
async fn pause(marks: &Marks, work: bool) {
    tokio::time::sleep(WORK_PAUSE).await;
    let over = tokio::time::Instant::now() + ANY_PAUSE;
    while !work && !marks.0.tell_work.load(Ordering::Acquire) {
        if tokio::time::timeout_at(over, marks.0.hurry.notified())
            .await
            .is_err()
        {
            break;
        }
    }
}

async fn tell(shared: &Shared, channel: &str, work: bool) -> Result<(), Failure> {
    let payload = format!(
        "{} {}",
        if work { "work" } else { "any" },
        shared.marks.0.name
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

    /// How long a pause takes in which there is news.
    async fn paused(marks: &Marks, work: bool) -> Duration {
        let begin = Instant::now();
        let news = async {
            tokio::time::sleep(ANY_PAUSE / 2).await;
            marks.changed(work);
        };
        tokio::join!(pause(marks, false), news);
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_hint_of_work_ends_a_pause_early_and_other_hints_follow_it() {
        let marks = Marks::default();
        assert_eq!(paused(&marks, false).await, WORK_PAUSE + ANY_PAUSE);
        let told = tokio::time::timeout(Duration::ZERO, marks.0.tell.notified()).await;
        assert_eq!((told.is_ok(), marks.take()), (true, Some(false)));
        assert!(paused(&marks, true).await < ANY_PAUSE, "work");
        assert_eq!(marks.take(), Some(true));
        assert_eq!(marks.take(), None, "told once");
    }
}
