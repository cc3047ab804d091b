//! What was found wrong, or in order, with this deployment, for the settings page. Who looks, and at what, is the affair of
//! the program that starts the server: the server knows no concrete store.
//!
//! A look may take seconds, so no page waits for it to end: what is known is shown, and a look is asked for when it is old.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// How long what was found is taken as still so.
const FRESH: Duration = Duration::from_secs(60);

/// How long a page waits for a look.
const PATIENCE: Duration = Duration::from_secs(1);

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingLevel {
    /// As it should be.
    Ok,
    /// Good to know.
    Note,
    /// Not comfortable.
    Warning,
    /// A promise does not hold.
    Broken,
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it is to be taken.
    pub level: FindingLevel,
    /// What was looked at, in a word or two.
    pub subject: String,
    /// What was found.
    pub found: String,
    /// What that means when something crashes.
    pub means: String,
    /// What to do about it, if anything.
    pub advice: Option<String>,
}

type Looking = Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

/// Looks at the deployment.
#[derive(Clone)]
pub struct Checkup(Arc<dyn Fn() -> Looking + Send + Sync>);

impl Checkup {
    /// By this function.
    pub fn new<F, R>(look: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Vec<Finding>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(look())))
    }
}

impl fmt::Debug for Checkup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checkup")
    }
}

/// What is known of the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// This was found, a minute ago at most or while a new look is under way.
    Findings(Arc<[Finding]>),
    /// The first look is under way.
    Looking,
    /// Nobody looks.
    Nothing,
}

/// Keeps what was found, and has it looked at again.
#[derive(Debug)]
pub(crate) struct Checkups {
    checkup: Option<Checkup>,
    known: watch::Sender<Option<(Instant, Arc<[Finding]>)>>,
    wanted: Notify,
}

impl Checkups {
    pub(crate) fn new(checkup: Option<Checkup>) -> Self {
        Self {
            checkup,
            known: watch::Sender::new(None),
            wanted: Notify::new(),
        }
    }

    /// Looks whenever somebody wants to know, until this is dropped.
    pub(crate) async fn run(&self) {
        let Some(checkup) = &self.checkup else { return };
        loop {
            self.wanted.notified().await;
            if !self.is_fresh() {
                let found = (checkup.0)().await;
                self.known
                    .send_replace(Some((Instant::now(), found.into())));
            }
        }
    }

    /// What is known. Waits a moment for what is new.
    pub(crate) async fn seen(&self) -> Seen {
        if self.checkup.is_none() {
            return Seen::Nothing;
        }
        if !self.is_fresh() {
            let mut news = self.known.subscribe();
            self.wanted.notify_one();
            // What comes later is for the next page.
            let _late = tokio::time::timeout(PATIENCE, news.changed()).await;
        }
        self.known
            .borrow()
            .as_ref()
            .map_or(Seen::Looking, |(_, found)| Seen::Findings(found.clone()))
    }

    fn is_fresh(&self) -> bool {
        self.known
            .borrow()
            .as_ref()
            .is_some_and(|(at, _)| at.elapsed() < FRESH)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::task::JoinSet;

    use super::*;

    fn counted(takes: Duration) -> (Arc<AtomicU32>, Arc<Checkups>) {
        let looks = Arc::new(AtomicU32::new(0));
        let counter = looks.clone();
        let checkup = Checkup::new(move || {
            let look = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(takes).await;
                let (found, means) = (format!("look {look}"), "nothing".to_owned());
                vec![Finding {
                    level: FindingLevel::Ok,
                    subject: "disk".to_owned(),
                    found,
                    means,
                    advice: None,
                }]
            }
        });
        (looks, Arc::new(Checkups::new(Some(checkup))))
    }

    fn text(seen: &Seen) -> String {
        match seen {
            Seen::Findings(found) => found[0].found.clone(),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_holds_for_a_minute() {
        let (looks, checkups) = counted(Duration::ZERO);
        let (running, mut tasks) = (checkups.clone(), JoinSet::new());
        tasks.spawn(async move { running.run().await });
        assert_eq!(looks.load(Ordering::SeqCst), 0, "nobody wanted to know yet");
        for _ in 0..3 {
            assert_eq!(text(&checkups.seen().await), "look 0");
        }
        tokio::time::advance(FRESH).await;
        assert_eq!(text(&checkups.seen().await), "look 1");
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_does_not_wait_for_a_long_look() {
        let (_, checkups) = counted(Duration::from_secs(20));
        let (running, mut tasks) = (checkups.clone(), JoinSet::new());
        tasks.spawn(async move { running.run().await });
        assert_eq!(checkups.seen().await, Seen::Looking);
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(text(&checkups.seen().await), "look 0");
        assert_eq!(Checkups::new(None).seen().await, Seen::Nothing);
    }
}
