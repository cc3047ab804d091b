//! Options for opening a store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use surefoot::{Clock, StoreError, SystemClock, Workflow};

use crate::SqliteStore;

/// Options for opening a store. The defaults suit production.
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteOptions {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) busy_timeout: Duration,
    pub(crate) max_size: Option<u64>,
    pub(crate) plan_format: u32,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            busy_timeout: Duration::from_secs(5),
            max_size: None,
            plan_format: Workflow::FORMAT,
        }
    }
}

impl SqliteOptions {
    /// Sets the source of the store's time.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets how long an operation waits for another process that writes to the file; 5 seconds by
    /// default.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// Limits the size of the file in bytes, in steps of its page size. Larger writes fail as on a
    /// full disk.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// The newest format of plans that the store reads, for tests that run two builds on one file.
    #[doc(hidden)]
    pub fn plan_format(mut self, format: u32) -> Self {
        self.plan_format = format;
        self
    }

    /// Opens the store, and creates its file if absent.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub fn open(self, path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path, self)
    }
}
