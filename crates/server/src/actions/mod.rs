//! What people do, whether by the API or by the dashboard: each action is written into the audit log.

mod bulk;
mod queues;
mod runs;

pub(crate) use bulk::{Bulk, BulkAction, Which};
pub(crate) use queues::{pause, resume, set_queue};
pub(crate) use runs::{answer, cancel, check, retry, submit};
