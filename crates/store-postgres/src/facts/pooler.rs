//! Whether a pooler stands between, and hands each transaction to whatever session of the server is free.

use std::collections::BTreeSet;

use surefoot::StoreError;

use super::ask;
use super::rows::first;
use crate::connect::{Connector, Session};

/// Looks; each time both sessions are asked for the process of the server that serves them.
const LOOKS: usize = 5;

/// Two sessions that are open at once have one process each, and keep it. With a pooler by transaction, both are served by
/// the process that was free last, and a transaction that one has open drives the other to another process.
pub(crate) async fn pooled(connector: &Connector) -> Result<bool, StoreError> {
    let (one, other) = (connector.connect().await?, connector.connect().await?);
    let (mut of_one, mut of_other) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..LOOKS {
        of_one.insert(process(&one).await?);
        ask(&one, "BEGIN").await?;
        of_other.insert(process(&other).await?);
        of_one.insert(process(&one).await?);
        ask(&one, "ROLLBACK").await?;
        of_other.insert(process(&other).await?);
    }
    Ok(of_one.len() > 1 || of_other.len() > 1 || !of_one.is_disjoint(&of_other))
}

async fn process(session: &Session) -> Result<Option<i64>, StoreError> {
    Ok(first(ask(session, "SELECT pg_backend_pid() AS pid").await?)?.number("pid"))
}
