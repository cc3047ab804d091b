//! The memory that a worker's snapshots may take together.
//!
//! Each snapshot that is stored or restored takes one window before it reads anything and holds
//! nothing else while it waits, so no two can wait for each other. Further ones wait their turn, in
//! order.

use std::io;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::CHUNK;

/// Bytes that one snapshot has in memory while it is stored or restored: a chunk, and its copy in
/// the store's client.
const WINDOW: usize = 2 * CHUNK;

/// Bytes of workspaces that one worker has in memory at once, over all of its runs.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotMemory(Arc<Semaphore>);

/// A part of the memory, until it is dropped.
#[derive(Debug)]
pub(crate) struct Reservation(OwnedSemaphorePermit);

impl SnapshotMemory {
    /// A budget of so many bytes; at least one window.
    pub(crate) fn new(bytes: usize) -> Self {
        let bytes = bytes.clamp(WINDOW, u32::MAX as usize);
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Waits for a window.
    pub(crate) async fn window(&self) -> io::Result<Reservation> {
        let window = self.0.clone().acquire_many_owned(WINDOW as u32);
        window.await.map(Reservation).map_err(io::Error::other)
    }
}

impl Reservation {
    /// Gives back all but so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: usize) {
        let surplus = self.0.num_permits().saturating_sub(bytes);
        drop(self.0.split(surplus));
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::{Pin, pin};
    use std::task::Poll;

    use super::*;

    async fn is_ready(waiting: Pin<&mut impl Future<Output = io::Result<Reservation>>>) -> bool {
        let mut waiting = waiting;
        poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context).is_ready())).await
    }

    #[tokio::test]
    async fn windows_are_given_in_order_and_a_shrunk_one_gives_back() {
        let memory = SnapshotMemory::new(2 * WINDOW + 10);
        let mut first = memory.window().await.unwrap();
        let second = memory.window().await.unwrap();
        let mut third = pin!(memory.window());
        let mut fourth = pin!(memory.window());
        assert!(!is_ready(third.as_mut()).await);
        assert!(!is_ready(fourth.as_mut()).await);
        first.shrink_to(10);
        first.shrink_to(20);
        assert!(!is_ready(fourth.as_mut()).await, "it is not its turn");
        assert!(is_ready(third.as_mut()).await);
        drop(second);
        assert!(is_ready(fourth.as_mut()).await);
    }

    #[tokio::test]
    async fn the_smallest_budget_lets_one_snapshot_through() {
        assert!(SnapshotMemory::new(0).window().await.is_ok());
    }
}
