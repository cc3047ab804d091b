//! Stores the workspace that a completed step left, up to what goes with its commit.

use std::sync::Arc;

use super::driver::{Driver, LeaseLost};
use crate::workspace::{Reservation, Upload};
use crate::{Snapshot, StepError, Store};

impl Driver {
    /// The snapshot for the commit that completes the step; `None` when the step did not open its
    /// workspace. Until that commit the run keeps the memory that the snapshot takes.
    pub(super) async fn upload_snapshot(
        &mut self,
    ) -> Result<Result<Option<Snapshot>, StepError>, LeaseLost> {
        let uploaded = tokio::select! {
            biased;
            () = self.held.lost.cancelled() => return Err(LeaseLost),
            () = self.shared.aborted.cancelled() => return Err(LeaseLost),
            uploaded = self.upload() => uploaded?,
        };
        Ok(uploaded.map(|uploaded| {
            let (snapshot, memory) = uploaded?;
            self.snapshot_memory = Some(memory);
            Some(snapshot)
        }))
    }

    async fn upload(
        &self,
    ) -> Result<Result<Option<(Snapshot, Reservation)>, StepError>, LeaseLost> {
        let mut upload: Upload = match self.folder.snapshot().await {
            Ok(Some(upload)) => upload,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let blobs = match upload.next().await {
                Ok(Some(blobs)) => blobs,
                Ok(None) => return Ok(Ok(Some(upload.finish().await))),
                Err(error) => return Ok(Err(StepError::from(error))),
            };
            let lease = self.lease;
            let put = |store: Arc<dyn Store>| {
                let blobs = blobs.clone();
                async move { store.put_blobs(lease, blobs).await }
            };
            if let Err(error) = self.until_answered(put).await? {
                return Ok(Err(StepError::from(error)));
            }
        }
    }
}
