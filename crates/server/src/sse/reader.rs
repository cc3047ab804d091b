//! The reader of a watched run. It alone queries the store, however many watch the run.

use std::sync::{Arc, Weak};
use std::time::Duration;

use surefoot::store::Hints;
use surefoot::{Event, Run, RunId, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::topic::{MAX_BUFFERED, Topic};

/// Events read at a time.
const PAGE: usize = 256;

/// Polling interval, since hints may be lost.
const POLL: Duration = Duration::from_millis(500);

/// Minimum interval between reads of a run. It grows with the number of watched runs.
const MIN_INTERVAL: Duration = Duration::from_millis(40);
const MIN_INTERVAL_PER_READER: Duration = Duration::from_millis(1);

/// Interval between retries while the store is unavailable.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

/// Reads a run as long as it is watched.
pub(super) async fn read(
    store: Arc<dyn Store>,
    topic: Weak<Topic>,
    run: RunId,
    hub: Hub,
    stop: CancellationToken,
) {
    let reader = Reader {
        hints: store.hints(),
        store,
        topic,
        run,
        hub,
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = reader.run() => {}
    }
}

struct Reader {
    store: Arc<dyn Store>,
    hints: Hints,
    topic: Weak<Topic>,
    run: RunId,
    hub: Hub,
}

impl Reader {
    async fn run(mut self) {
        self.hints.any.mark_unchanged();
        let mut seq = match self.begin().await {
            Ok(seq) => seq,
            Err(error) => {
                if let Some(topic) = self.topic.upgrade() {
                    topic.fail(error);
                }
                return;
            }
        };
        let mut ended = false;
        while let Some(topic) = self.topic.upgrade() {
            match self.add_new_events(&topic, &mut seq, &mut ended).await {
                Ok(true) => return topic.end(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(run = %self.run, %error, "failed to read a watched run; trying again");
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
            }
            drop(topic);
            if !ended {
                self.wait_for_change().await;
            }
        }
    }

    /// Finds the current end of the history, and reads the last events before it.
    async fn begin(&self) -> Result<u64, StoreError> {
        // If the run had ended before its events are read, these are all of them.
        let ended = self.read_run().await?.head.status.is_ended();
        let seq = last_event(self.store.as_ref(), self.run).await?;
        let events = self
            .store
            .events(
                self.run,
                seq.saturating_sub(MAX_BUFFERED as u64 / 2),
                MAX_BUFFERED,
            )
            .await?;
        // The history may have grown in between.
        let seq = events.last().map_or(seq, |event| event.seq);
        let run = self.read_run().await?;
        if let Some(topic) = self.topic.upgrade() {
            topic.begin(run, seq, &events, ended);
        }
        Ok(seq)
    }

    /// Adds new events. `true` if the run has ended and there are no more.
    async fn add_new_events(
        &self,
        topic: &Topic,
        seq: &mut u64,
        ended: &mut bool,
    ) -> Result<bool, StoreError> {
        loop {
            let events: Vec<Event> = self.store.events(self.run, *seq, PAGE).await?;
            // The run had ended before the events were read, so there are no more.
            if events.is_empty() && *ended {
                return Ok(true);
            }
            if events.is_empty()
                && topic
                    .now()
                    .await
                    .is_ok_and(|now| !now.run.head.status.is_ended())
            {
                return Ok(false);
            }
            // Read after its events, so that it shows their effect.
            let run = self.read_run().await?;
            *ended = run.head.status.is_ended();
            *seq = events.last().map_or(*seq, |event| event.seq);
            if !events.is_empty() {
                topic.add(run, *seq, &events);
            }
        }
    }

    async fn read_run(&self) -> Result<Run, StoreError> {
        self.store
            .run(self.run)
            .await?
            .ok_or(StoreError::NoRun(self.run))
    }

    async fn wait_for_change(&mut self) {
        let many = u32::try_from(self.hub.readers()).unwrap_or(u32::MAX);
        tokio::time::sleep(MIN_INTERVAL + MIN_INTERVAL_PER_READER.saturating_mul(many)).await;
        let hint = async {
            if self.hints.any.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        // A timeout has the same effect as a hint.
        let _ = tokio::time::timeout(POLL, hint).await;
    }
}

/// The sequence number of a run's last event. Events have no gaps, so it is found with growing and
/// then shrinking steps.
async fn last_event(store: &dyn Store, run: RunId) -> Result<u64, StoreError> {
    let first = store.events(run, 0, PAGE).await?;
    let Some(mut last) = first.last().map(|event| event.seq) else {
        return Ok(0);
    };
    if first.len() < PAGE {
        return Ok(last);
    }
    let mut step = PAGE as u64;
    let mut growing = true;
    while step > 0 {
        match store.events(run, last + step - 1, 1).await?.last() {
            Some(event) => {
                last = event.seq;
                step = if growing { step * 2 } else { step / 2 };
            }
            None => {
                growing = false;
                step /= 2;
            }
        }
    }
    Ok(last)
}
