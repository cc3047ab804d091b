//! Live events as server-sent events: what happens to a run, and when a listing has changed.
//!
//! A run is read once, however many watch it: [`Hub`] has one reader per watched run. Event ids are
//! sequence numbers of the run's history. A client that reconnects with its last id therefore
//! misses nothing and receives nothing twice, even from another server.

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
