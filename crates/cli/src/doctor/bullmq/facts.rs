//! A queue of BullMQ as its keys show it.

/// Observations of a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Queue {
    pub(super) name: String,
    /// True if it has any key.
    pub(super) exists: bool,
    /// The version that made it, as its meta key says.
    pub(super) version: Option<String>,
    pub(super) paused: bool,
    pub(super) counts: Counts,
    /// Workers that are connected; `None` when the server does not list its clients.
    pub(super) workers: Option<u64>,
    /// True if a worker looked for stalled jobs within its interval.
    pub(super) checks_stalled: bool,
    /// Active jobs that no worker has a lock on.
    pub(super) stalled: Vec<String>,
    /// Ids on a list of unfinished jobs whose data is gone.
    pub(super) orphaned: Vec<String>,
    /// Unfinished jobs that are on no list.
    pub(super) unlisted: Vec<String>,
    /// True if every job was read; false if the queue is larger than the limit.
    pub(super) all_seen: bool,
    /// Unfinished jobs that were looked at.
    pub(super) unfinished: u64,
    /// Jobs among them that were added after the last snapshot.
    pub(super) since_save: u64,
}

/// Jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Jobs of a paused queue included.
    pub(super) waiting: u64,
    pub(super) prioritized: u64,
    pub(super) delayed: u64,
    /// They wait for children.
    pub(super) parents: u64,
    pub(super) active: u64,
    pub(super) failed: u64,
    pub(super) completed: u64,
}
