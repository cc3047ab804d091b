//! How the database is reached: the URL, TLS, sessions, the schema's version, and what others tell by NOTIFY.

mod address;
mod error;
mod listen;
mod migrate;
mod named;
mod options;
mod scratch;
mod session;
mod tls;

pub use options::PostgresOptions;

pub(crate) use error::store_error;
pub(crate) use listen::{listen, spread};
pub(crate) use migrate::KNOWN as KNOWN_SCHEMA;
pub(crate) use session::{Connector, Ready, Session};

/// A statement for the store in `schema`. Each names it, for a `search_path` does not outlive a transaction in a pooler.
pub(crate) fn sql(text: &str, schema: &str) -> String {
    text.replace("{schema}", &format!("\"{schema}\""))
}
