//! The hub: holds the topic of each watched run, and starts a reader for the first watcher.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use surefoot::{RunId, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::overview::Overview;
use super::reader;
use super::topic::Topic;

/// All watched runs and their watchers. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Hub(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    stop: CancellationToken,
    topics: Mutex<HashMap<RunId, Weak<Topic>>>,
    overview: Mutex<Weak<Overview>>,
    tasks: TaskTracker,
    readers: AtomicUsize,
    watchers: AtomicUsize,
}

impl Hub {
    pub(crate) fn new(store: Arc<dyn Store>, stop: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            store,
            stop,
            topics: Mutex::default(),
            overview: Mutex::default(),
            tasks: TaskTracker::new(),
            readers: AtomicUsize::new(0),
            watchers: AtomicUsize::new(0),
        }))
    }

    /// Number of runs being read.
    pub(crate) fn readers(&self) -> usize {
        self.0.readers.load(Ordering::Relaxed)
    }

    /// Number of open streams.
    pub(crate) fn watchers(&self) -> usize {
        self.0.watchers.load(Ordering::Relaxed)
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Counts an open stream until the result is dropped.
    pub(super) fn count_watcher(&self) -> CountGuard {
        CountGuard::new(self, |inner| &inner.watchers)
    }

    /// The topic of a run. Its reader works as long as the topic is held.
    pub(super) fn topic(&self, run: RunId) -> Arc<Topic> {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(&run).and_then(Weak::upgrade) {
            return topic;
        }
        let topic = Arc::new(Topic::new(run));
        let weak = Arc::downgrade(&topic);
        topics.insert(run, weak.clone());
        let hub = self.clone();
        let stop = self.0.stop.clone();
        let store = self.0.store.clone();
        self.0.tasks.spawn(async move {
            let count = CountGuard::new(&hub, |inner| &inner.readers);
            reader::read(store, weak.clone(), run, hub.clone(), stop).await;
            drop(count);
            hub.forget(run, &weak);
        });
        topic
    }

    /// Removes a topic whose reader has ended; the next watcher starts a new reader.
    fn forget(&self, run: RunId, topic: &Weak<Topic>) {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics
            .get(&run)
            .is_some_and(|current| Weak::ptr_eq(current, topic))
        {
            topics.remove(&run);
        }
    }

    /// The overview for all listings.
    pub(super) fn overview(&self) -> Arc<Overview> {
        let mut current = self
            .0
            .overview
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(overview) = current.upgrade() {
            return overview;
        }
        let overview = Arc::new(Overview::default());
        *current = Arc::downgrade(&overview);
        let store = self.0.store.clone();
        let weak = Arc::downgrade(&overview);
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(super::overview::read(store, weak, stop));
        overview
    }

    /// Waits for the readers to end. The server must be stopping already.
    pub(crate) async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// Increments a counter for as long as it is held.
#[derive(Debug)]
pub(super) struct CountGuard(Hub, fn(&Inner) -> &AtomicUsize);

impl CountGuard {
    fn new(hub: &Hub, counter: fn(&Inner) -> &AtomicUsize) -> Self {
        counter(&hub.0).fetch_add(1, Ordering::Relaxed);
        Self(hub.clone(), counter)
    }
}

impl Drop for CountGuard {
    fn drop(&mut self) {
        self.1(&self.0.0).fetch_sub(1, Ordering::Relaxed);
    }
}
