//! Live events: streams of what happens to a run, and of when a listing has changed, as server-sent events.
//!
//! However many watch a run, it is read once: [`Hub`] has one reader for each watched run. Event ids are the sequence of the
//! run's history, so whoever comes back with the last one it saw misses nothing and gets nothing twice, whatever became of
//! the server meanwhile.

mod hub;
mod overview;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod topic;
mod watcher;

pub(crate) use hub::Hub;
pub(crate) use watcher::{changes, changes_of, stream};
