//! The operations. Those of the hot path are written in batches (`commit`, `submit`), each of the
//! others in a transaction of its own.

mod admit;
mod blobs;
mod claim;
mod commit;
mod documents;
mod person;
mod prune;
mod queues;
mod start;
mod submit;
mod workers;
mod write;

pub(crate) use blobs::put_blobs;
pub(crate) use claim::claim;
pub(crate) use commit::{Commit, commit};
pub(crate) use documents::{delete_document, put_document};
pub(crate) use person::{cancel, edit};
pub(crate) use prune::prune;
pub(crate) use queues::{pause_queue, set_queue};
pub(crate) use submit::{SubmitBatchers, submit};
pub(crate) use workers::{deregister, heartbeat, reclaim, reclaim_worker, register};
