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
const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(10);
/// The same if no message arrives, because of a pooler or, once, a busy machine.
const DEAF_FIRST: Duration = Duration::from_secs(5);
const DEAF_MOST: Duration = Duration::from_secs(300);
/// Time limit for the listener's message to itself.
const ECHO: Duration = Duration::from_secs(2);
/// Interval of the check whether a silent session is still connected.
const QUIET: Duration = Duration::from_secs(20);

/// Prefix of a listener's message to itself.
const HELLO: &str = "hello ";

/// Passes every payload on `channel` to `heard`. Each time it starts listening it passes `None`,
/// because earlier messages are lost. Never returns.
pub(crate) async fn listen(
    connector: Connector,
    channel: String,
    on_message: impl Fn(Option<&str>),
) {
    let mut wait = FIRST;
    let mut deaf = DEAF_FIRST;
    loop {
        match begin(&connector, &channel, &on_message).await {
            Some(Listener {
                session,
                payloads,
                echoes: true,
            }) => {
                (wait, deaf) = (FIRST, DEAF_FIRST);
                receive(&session, payloads, &on_message).await;
            }
            Some(Listener { echoes: false, .. }) => {
                if deaf == DEAF_FIRST {
                    tracing::info!(
                        "NOTIFY does not arrive, probably because of a pooler: work is found by polling"
                    );
                }
                wait = deaf;
                deaf = (deaf * 2).min(DEAF_MOST);
            }
            None => {}
        }
        tokio::time::sleep(spread(wait)).await;
        wait = (wait * 2).min(MOST);
    }
}

/// A listening session.
struct Listener {
    session: Session,
    payloads: UnboundedReceiver<String>,
    /// Set once its message to itself has arrived.
    echoes: bool,
}

async fn begin(
    connector: &Connector,
    channel: &str,
    on_message: &impl Fn(Option<&str>),
) -> Option<Listener> {
    let (sender, mut payloads) = mpsc::unbounded_channel();
    let unasked = move |message| {
        if let AsyncMessage::Notification(notification) = message {
            // The receiver is gone when this store is being closed.
            let _closed = sender.send(notification.payload().to_owned());
        }
    };
    let session = connector.connect_with(unasked).await.ok()?;
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
    let echoes = tokio::time::timeout(ECHO, echo).await.unwrap_or(false);
    Some(Listener {
        session,
        payloads,
        echoes,
    })
}

/// Receives until the session ends.
async fn receive(
    session: &Session,
    mut payloads: UnboundedReceiver<String>,
    on_message: &impl Fn(Option<&str>),
) {
    loop {
        match tokio::time::timeout(QUIET, payloads.recv()).await {
            Ok(Some(payload)) => handle(&payload, on_message),
            Ok(None) => return,
            Err(_) => {
                let alive = tokio::time::timeout(QUIET, session.simple_query("SELECT 1")).await;
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
