//! Slots of runs, and isolation after crashes: a step that may have crashed its worker runs beside
//! few others, or alone.

use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::Shared;
use super::active_runs::ActiveRun;
use crate::Run;
use crate::state::CancelMode;

/// Longest wait for other runs to end. Then the step runs beside them, and a crash counts against
/// none of them: a step that never ends must not keep an isolated one waiting for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Slots of its worker that a run holds.
#[derive(Debug, Default)]
pub(crate) struct HeldSlots {
    /// Its own slot; none when the run is only handed back.
    pub(crate) own: Option<OwnedSemaphorePermit>,
    /// Slots that it keeps other runs out of.
    pub(crate) isolation: Isolation,
}

/// Slots that a run holds so that others do not run beside it.
#[derive(Debug, Default)]
pub(crate) struct Isolation(Vec<OwnedSemaphorePermit>);

impl Isolation {
    pub(super) fn of(permits: Vec<OwnedSemaphorePermit>) -> Self {
        Self(permits)
    }

    /// Releases the slots. Returns true if there were any.
    pub(super) fn end(&mut self) -> bool {
        !std::mem::take(&mut self.0).is_empty()
    }
}

impl From<Option<OwnedSemaphorePermit>> for HeldSlots {
    fn from(own: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            own,
            isolation: Isolation::default(),
        }
    }
}

/// Waits for the slots of a claimed run. An isolated run waits until few enough others are left;
/// nothing else starts in this worker meanwhile.
pub(super) async fn slots(shared: &Shared, run: &Run, held: &ActiveRun) -> HeldSlots {
    let one = shared.slots.of(&run.plan).acquire_owned();
    let Some(limit) = run.isolation() else {
        return one.await.ok().into();
    };
    tokio::select! {
        biased;
        () = held.lost.cancelled() => return HeldSlots::default(),
        () = shared.draining.cancelled() => return HeldSlots::default(),
        mode = new_cancel(run, held) => {
            // A mere cancel needs no slot. An undo does; it has not begun, so it is no suspect.
            if mode != Some(CancelMode::Undo) {
                return HeldSlots::default();
            }
        }
        slots = shared.slots.isolated(limit) => return slots.unwrap_or_default(),
        () = tokio::time::sleep(LONGEST_WAIT) => {
            tracing::warn!(run = %run.id, "an isolated step waited too long: it runs beside others");
        }
    }
    // The slots that it held while it waited are free again.
    let slots = one.await.ok().into();
    shared.slot_released();
    slots
}

/// Waits for a cancel requested after the run was claimed. The sender lives as long as `held`.
async fn new_cancel(run: &Run, held: &ActiveRun) -> Option<CancelMode> {
    let mut cancel = held.cancel.subscribe();
    let mode = cancel
        .wait_for(|mode| *mode != run.head.cancel)
        .await
        .ok()?;
    *mode
}
