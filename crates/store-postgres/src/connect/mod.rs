//! How the database is reached: the URL, TLS, sessions, the schema's version, and what others tell by NOTIFY.

mod address;
mod error;
mod listen;
mod migrate;
mod named;
mod options;
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

/// A statement for the store in `schema`. Each names it, for a `search_path` does not outlive a transaction in a pooler.
pub(crate) fn sql(text: &str, schema: &str) -> String {
    text.replace("{schema}", &format!("\"{schema}\""))
}

/// From three to five quarters of `wait`: many workers shall not come back at once.
pub(crate) fn spread(wait: Duration) -> Duration {
    let random = f64::from(Uuid::new_v4().as_u64_pair().0 as u32) / f64::from(u32::MAX);
    wait.mul_f64(0.75 + random / 2.0)
}
