//! Connection to the database: URLs, TLS, rights, schema versions, poolers, and databases that do
//! not answer.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

mod away;
mod hints;
mod schema;
mod secrets;
mod settings;
mod snapshots;
mod support;
mod tls;
