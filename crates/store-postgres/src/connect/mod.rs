//! Connection to the database: URL, TLS, sessions, schema version, and NOTIFY messages of other
//! processes.

mod address;
mod error;
mod hosts;
mod listen;
mod migrate;
mod options;
mod prepared;
mod scratch;
mod session;
mod settings;
mod tls;
mod verify;

use std::time::Duration;

use uuid::Uuid;

pub use options::PostgresOptions;

pub(crate) use error::{Meaning, meaning, store_error};
pub(crate) use listen::listen;
pub(crate) use migrate::KNOWN as KNOWN_SCHEMA;
pub(crate) use session::{Connector, Ready, Session};

/// A statement for the store in `schema`. Each statement names the schema, because a `search_path`
/// does not outlive a transaction in a pooler.
pub(crate) fn sql(text: &str, schema: &str) -> String {
    text.replace("{schema}", &format!("\"{schema}\""))
}

/// Jitter from three to five quarters of `wait`, so that many workers do not return at once.
pub(crate) fn spread(wait: Duration) -> Duration {
    let random = f64::from(Uuid::new_v4().as_u64_pair().0 as u32) / f64::from(u32::MAX);
    wait.mul_f64(0.75 + random / 2.0)
}
