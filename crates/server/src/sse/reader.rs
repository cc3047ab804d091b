//! The reader of a watched run: the only one that asks the store of it, however many watch.

use std::sync::{Arc, Weak};
use std::time::Duration;

use surefoot::store::Hints;
use surefoot::{Event, Run, RunId, Store, StoreError};
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::topic::{KEPT, Topic};

/// Events read at a time.
const PAGE: usize = 256;

/// Hints may be lost: how often to look all the same.
const POLL: Duration = Duration::from_millis(500);

/// How often at most a run is read; with many watched runs each has to wait longer.
const SOONEST: Duration = Duration::from_millis(40);
const SOONEST_EACH: Duration = Duration::from_millis(1);

/// Between two tries while the store is away.
const AWAY: Duration = Duration::from_millis(500);

/// Reads a run for as long as anybody watches it.
pub(super) async fn read(
    store: Arc<dyn Store>,
    topic: Weak<Topic>,
    run: RunId,
    hub: Hub,
    stop: CancellationToken,
) {
    let reading = Reading {
        hints: store.hints(),
        store,
        topic,
        run,
        hub,
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = reading.go() => {}
    }
}

struct Reading {
    store: Arc<dyn Store>,
    hints: Hints,
    topic: Weak<Topic>,
    run: RunId,
    hub: Hub,
}

impl Reading {
    async fn go(mut self) {
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
            match self.look(&topic, &mut seq, &mut ended).await {
                Ok(true) => return topic.end(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(run = %self.run, %error, "cannot read a run that is watched; trying again");
                    tokio::time::sleep(AWAY).await;
                }
            }
            drop(topic);
            if !ended {
                self.changed().await;
            }
        }
    }

    /// Finds the present end of the history, and the last of what led there.
    async fn begin(&self) -> Result<u64, StoreError> {
        // A run that had ended before its events were read has no others.
        let ended = self.read_run().await?.head.status.is_ended();
        let seq = last_event(self.store.as_ref(), self.run).await?;
        let events = self
            .store
            .events(self.run, seq.saturating_sub(KEPT as u64 / 2), KEPT)
            .await?;
        // The history may have gone on since.
        let seq = events.last().map_or(seq, |event| event.seq);
        let run = self.read_run().await?;
        if let Some(topic) = self.topic.upgrade() {
            topic.begin(run, seq, &events, ended);
        }
        Ok(seq)
    }

    /// Adds what is new. `true` when the run has ended and there is nothing more.
    async fn look(
        &self,
        topic: &Topic,
        seq: &mut u64,
        ended: &mut bool,
    ) -> Result<bool, StoreError> {
        loop {
            let events: Vec<Event> = self.store.events(self.run, *seq, PAGE).await?;
            // It had ended before the events were read: these were all.
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
            // After its events, so that it shows what they did.
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

    async fn changed(&mut self) {
        let many = u32::try_from(self.hub.readers()).unwrap_or(u32::MAX);
        tokio::time::sleep(SOONEST + SOONEST_EACH.saturating_mul(many)).await;
        let hint = async {
            if self.hints.any.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        // When the time is up, that is as good as a hint.
        let _ = tokio::time::timeout(POLL, hint).await;
    }
}

/// The number of a run's last event. Its events have no gaps, so it is found in steps of growing and then shrinking length.
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
