//! `submit` in the database: what a client in any language may do, in its own transaction.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

mod claims;
mod keys;
mod limits;
mod parameters;
mod rights;
mod support;
mod transactions;
