//! Receives NOTIFY messages of other processes on a dedicated session. They are only hints: every
//! receiver also polls, so a pooler that swallows messages, or a lost session, only costs time.
//!
//! A pooler accepts LISTEN but gives the next transaction another connection: nothing arrives,
//! without an error. So a new listener sends itself a message through another session. If the
//! message does not arrive, the listener stops for a while, and then for longer.

use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_postgres::AsyncMessage;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::session::{Connector, Session};
use super::spread;

/// Interval between two attempts to listen; jittered by half, so that many workers do not return at
/// once.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(10);
/// The same if no message arrives, because of a pooler or, once, a busy machine.
const FIRST_SILENT_WAIT: Duration = Duration::from_secs(5);
const MAX_SILENT_WAIT: Duration = Duration::from_secs(300);
/// Time limit for the listener's message to itself.
const ECHO_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval of the check whether a silent session is still connected.
const LIVENESS_INTERVAL: Duration = Duration::from_secs(20);

/// Prefix of a listener's message to itself.
const HELLO: &str = "hello ";

/// Passes every payload on `channel` to `on_message`. Each time it starts listening it passes
/// `None`, because earlier messages are lost. Never returns.
pub(crate) async fn listen(
    connector: Connector,
    channel: String,
    on_message: impl Fn(Option<&str>),
) {
    let mut wait = FIRST_WAIT;
    let mut silent_wait = FIRST_SILENT_WAIT;
    loop {
        match start(&connector, &channel, &on_message).await {
            Some(Listener {
                session,
                payloads,
                is_heard: true,
            }) => {
                wait = FIRST_WAIT;
                silent_wait = FIRST_SILENT_WAIT;
                receive(&session, payloads, &on_message).await;
            }
            Some(Listener {
                is_heard: false, ..
            }) => {
                if silent_wait == FIRST_SILENT_WAIT {
                    tracing::info!(
                        "NOTIFY does not arrive, probably because of a pooler: work is found by polling"
                    );
                }
                wait = silent_wait;
                silent_wait = (silent_wait * 2).min(MAX_SILENT_WAIT);
            }
            None => {}
        }
        tokio::time::sleep(spread(wait)).await;
        wait = (wait * 2).min(MAX_WAIT);
    }
}

/// A listening session.
struct Listener {
    session: Session,
    payloads: UnboundedReceiver<String>,
    /// Set once its message to itself has arrived.
    is_heard: bool,
}

async fn start(
    connector: &Connector,
    channel: &str,
    on_message: &impl Fn(Option<&str>),
) -> Option<Listener> {
    let (sender, mut payloads) = mpsc::unbounded_channel();
    let forward = move |message| {
        if let AsyncMessage::Notification(notification) = message {
            // The receiver is gone when this store is being closed.
            let _closed = sender.send(notification.payload().to_owned());
        }
    };
    let session = connector.connect_with(forward).await.ok()?;
    session
        .batch_execute(&format!("LISTEN \"{channel}\""))
        .await
        .ok()?;
    on_message(None);
    let hello = format!("{HELLO}{}", Uuid::new_v4().simple());
    let other = connector.connect().await.ok()?;
    let notification = [(&channel as _, Type::TEXT), (&hello as _, Type::TEXT)];
    other
        .query_typed("SELECT pg_notify($1, $2)", &notification)
        .await
        .ok()?;
    let echo = async {
        while let Some(payload) = payloads.recv().await {
            if payload == hello {
                return true;
            }
            handle(&payload, on_message);
        }
        false
    };
    let is_heard = tokio::time::timeout(ECHO_TIMEOUT, echo)
        .await
        .unwrap_or(false);
    Some(Listener {
        session,
        payloads,
        is_heard,
    })
}

/// Receives until the session ends.
async fn receive(
    session: &Session,
    mut payloads: UnboundedReceiver<String>,
    on_message: &impl Fn(Option<&str>),
) {
    loop {
        match tokio::time::timeout(LIVENESS_INTERVAL, payloads.recv()).await {
            Ok(Some(payload)) => handle(&payload, on_message),
            Ok(None) => return,
            Err(_) => {
                let alive =
                    tokio::time::timeout(LIVENESS_INTERVAL, session.simple_query("SELECT 1")).await;
                if !matches!(alive, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}

fn handle(payload: &str, on_message: &impl Fn(Option<&str>)) {
    // Other listeners send themselves messages too.
    if !payload.starts_with(HELLO) {
        on_message(Some(payload));
    }
}
