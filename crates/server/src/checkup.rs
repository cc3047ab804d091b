//! Findings about this deployment, for the settings page. They are produced by the program that
//! starts the server, since the server knows no concrete store.
//!
//! A check may take seconds, so pages do not wait for its end. They show the last findings and
//! request a new check when those are old.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Time during which findings count as current.
const FINDINGS_LIFETIME: Duration = Duration::from_secs(60);

/// Maximum time that a page waits for a check.
const PAGE_WAIT: Duration = Duration::from_secs(1);

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingLevel {
    /// As it should be.
    Ok,
    /// For information.
    Note,
    /// Should be improved.
    Warning,
    /// A guarantee does not hold.
    Broken,
}

/// The result of checking one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The severity.
    pub level: FindingLevel,
    /// The subject, in one or two words.
    pub subject: String,
    /// The observed fact.
    pub found: String,
    /// Its consequence when something crashes.
    pub means: String,
    /// Advice, if any.
    pub advice: Option<String>,
}

type CheckFuture = Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

/// The function that checks the deployment.
#[derive(Clone)]
pub struct Checkup(Arc<dyn Fn() -> CheckFuture + Send + Sync>);

impl Checkup {
    /// Wraps a function.
    pub fn new<F, R>(check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Vec<Finding>> + Send + 'static,
    {
        Self(Arc::new(move || Box::pin(check())))
    }
}

impl fmt::Debug for Checkup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checkup")
    }
}

/// The current knowledge about the deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckupState {
    /// Findings at most a minute old, or older ones while a new check is running.
    Findings(Arc<[Finding]>),
    /// The first check is running.
    Running,
    /// No check is configured.
    NotConfigured,
}

/// Caches findings and renews them on demand.
#[derive(Debug)]
pub(crate) struct CheckupCache {
    checkup: Option<Checkup>,
    latest: watch::Sender<Option<(Instant, Arc<[Finding]>)>>,
    requested: Notify,
}

impl CheckupCache {
    pub(crate) fn new(checkup: Option<Checkup>) -> Self {
        Self {
            checkup,
            latest: watch::Sender::new(None),
            requested: Notify::new(),
        }
    }

    /// Runs a check whenever one is requested, until this is dropped.
    pub(crate) async fn run(&self) {
        let Some(checkup) = &self.checkup else { return };
        loop {
            self.requested.notified().await;
            if !self.is_fresh() {
                let found = (checkup.0)().await;
                self.latest
                    .send_replace(Some((Instant::now(), found.into())));
            }
        }
    }

    /// The current findings. Waits briefly for new ones if they are old.
    pub(crate) async fn current(&self) -> CheckupState {
        if self.checkup.is_none() {
            return CheckupState::NotConfigured;
        }
        if !self.is_fresh() {
            let mut news = self.latest.subscribe();
            self.requested.notify_one();
            // Later findings are shown on the next page.
            let _late = tokio::time::timeout(PAGE_WAIT, news.changed()).await;
        }
        self.latest
            .borrow()
            .as_ref()
            .map_or(CheckupState::Running, |(_, found)| {
                CheckupState::Findings(found.clone())
            })
    }

    fn is_fresh(&self) -> bool {
        self.latest
            .borrow()
            .as_ref()
            .is_some_and(|(at, _)| at.elapsed() < FINDINGS_LIFETIME)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::task::JoinSet;

    use super::*;

    fn counted(takes: Duration) -> (Arc<AtomicU32>, Arc<CheckupCache>) {
        let checks = Arc::new(AtomicU32::new(0));
        let counter = checks.clone();
        let checkup = Checkup::new(move || {
            let check = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::time::sleep(takes).await;
                let found = format!("check {check}");
                let means = "nothing".to_owned();
                vec![Finding {
                    level: FindingLevel::Ok,
                    subject: "disk".to_owned(),
                    found,
                    means,
                    advice: None,
                }]
            }
        });
        (checks, Arc::new(CheckupCache::new(Some(checkup))))
    }

    fn text(seen: &CheckupState) -> String {
        match seen {
            CheckupState::Findings(found) => found[0].found.clone(),
            other => format!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn findings_are_reused_for_a_minute() {
        let (checks, checkups) = counted(Duration::ZERO);
        let running = checkups.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { running.run().await });
        assert_eq!(
            checks.load(Ordering::SeqCst),
            0,
            "no check was requested yet"
        );
        for _ in 0..3 {
            assert_eq!(text(&checkups.current().await), "check 0");
        }
        tokio::time::advance(FINDINGS_LIFETIME).await;
        assert_eq!(text(&checkups.current().await), "check 1");
        assert_eq!(checks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_does_not_wait_for_a_slow_check() {
        let (_, checkups) = counted(Duration::from_secs(20));
        let running = checkups.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { running.run().await });
        assert_eq!(checkups.current().await, CheckupState::Running);
        tokio::time::sleep(Duration::from_secs(25)).await;
        assert_eq!(text(&checkups.current().await), "check 0");
        assert_eq!(
            CheckupCache::new(None).current().await,
            CheckupState::NotConfigured
        );
    }
}
