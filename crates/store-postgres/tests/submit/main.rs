//! The function `submit` in the database, for a client in any language, in its own transaction.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

mod allow;
mod claims;
mod keys;
mod limits;
mod parameters;
mod rights;
mod support;
mod transactions;
