//! Operations, applied on the writer's thread.
//!
//! Each checks first and writes afterwards: a refused operation has written nothing, so the shared
//! transaction is intact. Each may be applied again after a rollback.

mod admit;
mod blobs;
mod claim;
mod commit;
mod documents;
mod person;
mod prune;
mod queues;
mod submit;
mod workers;
mod write;

pub(crate) use blobs::put_blobs;
pub(crate) use claim::claim;
pub(crate) use commit::commit;
pub(crate) use documents::{delete_document, put_document};
pub(crate) use person::{cancel, edit};
pub(crate) use prune::prune;
pub(crate) use queues::{pause_queue, set_queue};
pub(crate) use submit::{Insert, submit};
pub(crate) use workers::{deregister, heartbeat, reclaim, reclaim_worker, register};
