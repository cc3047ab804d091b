//! The API as programs use it: a real server on a free port, with a real store and real handlers.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

mod acts;
mod alerts;
mod bulk;
mod contract;
mod counting;
mod events;
mod finding;
mod limits;
mod load;
mod metrics;
mod problems;
mod ready;
mod schemathesis;
mod submitting;
mod world;
