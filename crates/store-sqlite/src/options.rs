//! How a store is opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use surefoot::{Clock, StoreError, SystemClock};

use crate::SqliteStore;

/// How a store is opened. The default suits production.
#[derive(Clone, Debug)]
#[must_use]
pub struct SqliteOptions {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) busy_timeout: Duration,
    pub(crate) max_size: Option<u64>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            busy_timeout: Duration::from_secs(5),
            max_size: None,
        }
    }
}

impl SqliteOptions {
    /// What the store's time is told by.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How long an operation waits for another process that writes to the file. 5 seconds by default.
    pub fn busy_timeout(mut self, timeout: Duration) -> Self {
        self.busy_timeout = timeout;
        self
    }

    /// The largest size of the file in bytes, in steps of its page size. What does not fit is refused as on a full disk.
    pub fn max_size(mut self, bytes: u64) -> Self {
        self.max_size = Some(bytes);
        self
    }

    /// Opens the store, and makes its file when there is none.
    ///
    /// # Errors
    /// See [`SqliteStore::open`].
    pub fn open(self, path: &Path) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path, self)
    }
}
