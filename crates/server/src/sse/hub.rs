//! The hub: finds the topic of a run, and sets a reader to work when nobody watched it before.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use surefoot::{RunId, Store};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::overview::Overview;
use super::reader;
use super::topic::Topic;

/// Who watches which run. Cheap to clone.
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

    /// How many runs are read.
    pub(crate) fn readers(&self) -> usize {
        self.0.readers.load(Ordering::Relaxed)
    }

    /// How many streams are open.
    pub(crate) fn watchers(&self) -> usize {
        self.0.watchers.load(Ordering::Relaxed)
    }

    pub(super) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    pub(super) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Counts a stream that is open, until what this gives is dropped.
    pub(super) fn watching(&self) -> Counted {
        Counted::new(self, |inner| &inner.watchers)
    }

    /// The topic of a run; its reader works for as long as somebody holds it.
    pub(super) fn topic(&self, run: RunId) -> Arc<Topic> {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(topic) = topics.get(&run).and_then(Weak::upgrade) {
            return topic;
        }
        let topic = Arc::new(Topic::new(run));
        let weak = Arc::downgrade(&topic);
        topics.insert(run, weak.clone());
        let (hub, stop, store) = (self.clone(), self.0.stop.clone(), self.0.store.clone());
        self.0.tasks.spawn(async move {
            let counted = Counted::new(&hub, |inner| &inner.readers);
            reader::read(store, weak.clone(), run, hub.clone(), stop).await;
            drop(counted);
            hub.forget(run, &weak);
        });
        topic
    }

    /// Whoever comes after the reader has ended gets a new one.
    fn forget(&self, run: RunId, topic: &Weak<Topic>) {
        let mut topics = self.0.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if topics
            .get(&run)
            .is_some_and(|known| Weak::ptr_eq(known, topic))
        {
            topics.remove(&run);
        }
    }

    /// How everything stands, for whoever shows listings.
    pub(super) fn overview(&self) -> Arc<Overview> {
        let mut known = self
            .0
            .overview
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(overview) = known.upgrade() {
            return overview;
        }
        let overview = Arc::new(Overview::default());
        *known = Arc::downgrade(&overview);
        let (store, weak, stop) = (
            self.0.store.clone(),
            Arc::downgrade(&overview),
            self.0.stop.clone(),
        );
        self.0.tasks.spawn(super::overview::read(store, weak, stop));
        overview
    }

    /// Waits for the readers to end. The server has been told to stop by then.
    pub(crate) async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }
}

/// One of many, for as long as it is held.
#[derive(Debug)]
pub(super) struct Counted(Hub, fn(&Inner) -> &AtomicUsize);

impl Counted {
    fn new(hub: &Hub, counter: fn(&Inner) -> &AtomicUsize) -> Self {
        counter(&hub.0).fetch_add(1, Ordering::Relaxed);
        Self(hub.clone(), counter)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.1(&self.0.0).fetch_sub(1, Ordering::Relaxed);
    }
}
