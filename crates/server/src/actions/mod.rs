//! Actions of people and programs, by the API or the dashboard. Each is recorded in the audit log.

mod bulk;
mod queues;
mod runs;

pub(crate) use bulk::{Bulk, BulkAction, Selection};
pub use queues::limits_detail;
pub(crate) use queues::{pause, resume, set_queue};
pub(crate) use runs::{
    LINK_LIFETIME, MAX_LINK_LIFETIME, answer, cancel, check, link, retry, submit,
};
