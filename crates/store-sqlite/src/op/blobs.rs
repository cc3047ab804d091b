//! Contents of a workspace that are uploaded ahead of the commit that completes its step.

use rusqlite::params;
use surefoot::state::Lease;
use surefoot::{Digest, StoreError};

use super::write::signed;
use crate::error::Failure;
use crate::sql;
use crate::writer::Tx;

/// Adds contents that the run of the lease needs from now on.
pub(crate) fn put_blobs(
    tx: &mut Tx<'_>,
    lease: Lease,
    blobs: &[(Digest, Vec<u8>)],
) -> Result<(), Failure> {
    let run = lease.run.as_bytes();
    let worker = lease.worker.as_bytes();
    let mut is_held = tx.conn.prepare_cached(sql::IS_HELD)?;
    if !is_held.exists(params![run, worker, signed(lease.epoch)])? {
        return Err(Failure::Refused(StoreError::LeaseLost));
    }
    let mut blob = tx.conn.prepare_cached(sql::INSERT_BLOB)?;
    let mut need = tx.conn.prepare_cached(sql::INSERT_PENDING_BLOB)?;
    for (digest, content) in blobs {
        let changed = blob.execute(params![digest.as_bytes(), content])?
            + need.execute(params![run, digest.as_bytes()])?;
        // Nothing that a page shows has changed.
        *tx.silent_changes += changed as u64;
    }
    Ok(())
}
