//! Measured facts: the round trip, a commit, a notification, the clock.

use std::time::{Duration, Instant};

use surefoot::{Clock as _, StoreError, SystemClock};
use tokio::sync::mpsc;
use tokio_postgres::AsyncMessage;

use super::ask;
use super::rows::first;
use crate::connect::{Connector, Session};

/// Measurements for a median.
const TIMES: usize = 15;

/// A notification that has not arrived by then counts as lost.
const SILENCE: Duration = Duration::from_secs(2);

pub(super) async fn round_trip(session: &Session) -> Result<Duration, StoreError> {
    median(session, "SELECT 1").await
}

/// Writes a message into the log, in its own transaction: it changes no table, but its commit must
/// reach the disk.
pub(super) async fn commit(session: &Session) -> Result<Duration, StoreError> {
    median(
        session,
        "SELECT pg_logical_emit_message(true, 'surefoot doctor', '')",
    )
    .await
}

async fn median(session: &Session, statement: &str) -> Result<Duration, StoreError> {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        ask(session, statement).await?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// Lead of the database's clock, measured at the midpoint of the shortest of a few queries, and
/// half the duration of that query.
pub(super) async fn clock(session: &Session) -> Result<(i64, Duration), StoreError> {
    const STATEMENT: &str =
        "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS micros";
    let mut best: Option<(i64, Duration)> = None;
    for _ in 0..TIMES {
        let before = SystemClock.now().as_micros();
        let start = Instant::now();
        let there = first(ask(session, STATEMENT).await?)?
            .number("micros")
            .unwrap_or_default();
        let half = start.elapsed() / 2;
        let ahead = there - before - i64::try_from(half.as_micros()).unwrap_or(0);
        if best.is_none_or(|(_, shortest)| half < shortest) {
            best = Some((ahead, half));
        }
    }
    Ok(best.unwrap_or_default())
}

/// Time from NOTIFY in one session to its arrival in another. A pooler in transaction mode swallows
/// it.
pub(super) async fn notify(connector: &Connector) -> Result<Option<Duration>, StoreError> {
    let (sender, mut heard) = mpsc::unbounded_channel();
    let listener = connector.connect_with(move |message| {
        if let AsyncMessage::Notification(notification) = message {
            // The receiver has given up.
            let _ = sender.send(notification.payload().to_owned());
        }
    });
    let listener = listener.await?;
    let teller = connector.connect().await?;
    let channel = format!("surefoot_doctor_{}", std::process::id());
    ask(&listener, &format!("LISTEN {channel}")).await?;
    let mut times = Vec::new();
    for turn in 0..TIMES {
        let start = Instant::now();
        ask(&teller, &format!("NOTIFY {channel}, '{turn}'")).await?;
        match tokio::time::timeout(SILENCE, heard.recv()).await {
            Ok(Some(payload)) if payload == turn.to_string() => times.push(start.elapsed()),
            _ => break,
        }
    }
    // Behind a pooler the server's session lives on, and would keep listening.
    ask(&listener, &format!("UNLISTEN {channel}")).await?;
    times.sort_unstable();
    Ok((times.len() == TIMES).then(|| times[TIMES / 2]))
}
