//! Contents of a workspace that are uploaded ahead of the commit that completes its step.

use std::time::Instant;

use surefoot::state::Lease;
use surefoot::{Digest, StoreError};

use crate::args::Args;
use crate::failure::{Failure, fault};
use crate::row::{get, signed, uuid};
use crate::shared::Shared;

/// Adds contents that the run of the lease needs from now on: one statement, a transaction by
/// itself.
pub(crate) async fn put_blobs(
    shared: &Shared,
    lease: Lease,
    blobs: &[(Digest, Vec<u8>)],
) -> Result<(), Failure> {
    let (digests, contents): (Vec<&[u8]>, Vec<&[u8]>) = blobs
        .iter()
        .map(|(digest, content)| (digest.as_bytes().as_slice(), content.as_slice()))
        .unzip();
    let args = Args::none()
        .with(uuid(lease.run.as_bytes()))
        .with(uuid(lease.worker.as_bytes()))
        .with(signed(lease.epoch))
        .with_all(digests)
        .with_all(contents);
    let begun = Instant::now();
    let rows = shared.query((&shared.sql.put_blobs, args)).await?;
    let row = rows.first();
    let row = row.ok_or_else(|| fault("an upload has an answer"))?;
    if !get::<bool>(row, 0)? {
        return Err(StoreError::LeaseLost.into());
    }
    shared.metrics.committed(1, begun.elapsed());
    Ok(())
}
