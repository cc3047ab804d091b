//! The API as programs see it: a real server on a free port, over a real SQLite store, with real handlers.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where by its panic")]

mod contract;
mod counting;
mod events;
mod load;
mod problems;
mod ready;
mod schemathesis;
mod world;
