//! Listens to what other processes tell by NOTIFY, on a session of its own. Only hints: whoever waits polls as well, so that
//! a pooler through which nothing comes, or a session that broke, costs no more than time.
//!
//! A pooler takes LISTEN and gives the next transaction another connection: nothing is heard, and nothing says so. So a
//! listener that has begun tells itself something by another session, and when it does not hear that, it leaves it for a while, and then for longer.

use std::time::Duration;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_postgres::AsyncMessage;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::session::{Connector, Session};
use super::spread;

/// Between two tries to listen again; each is spread by half, so that many workers do not come back at once.
const FIRST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(10);
/// The same when nothing comes through, for a pooler or, once, for a machine that is busy.
const DEAF_FIRST: Duration = Duration::from_secs(5);
const DEAF_MOST: Duration = Duration::from_secs(300);
/// How long what a listener told itself may take.
const ECHO: Duration = Duration::from_secs(2);
/// How often a session that says nothing is asked whether it is still there.
const QUIET: Duration = Duration::from_secs(20);

/// What a listener tells itself begins with this.
const HELLO: &str = "hello ";

/// Gives every payload told on `channel` to `heard`, and tells `heard` of nothing in particular (`None`) each time it begins to
/// listen: what was told before it did is lost. Never returns.
pub(crate) async fn listen(connector: Connector, channel: String, heard: impl Fn(Option<&str>)) {
    let mut wait = FIRST;
    let mut deaf = DEAF_FIRST;
    loop {
        match begin(&connector, &channel, &heard).await {
            Some(Ear {
                session,
                payloads,
                echoes: true,
            }) => {
                (wait, deaf) = (FIRST, DEAF_FIRST);
                stay(&session, payloads, &heard).await;
            }
            Some(Ear { echoes: false, .. }) => {
                if deaf == DEAF_FIRST {
                    tracing::info!(
                        "NOTIFY does not come through, for a pooler probably: work is found by polling"
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

/// A session that listens.
struct Ear {
    session: Session,
    payloads: UnboundedReceiver<String>,
    /// Whether it heard what it told itself.
    echoes: bool,
}

async fn begin(connector: &Connector, channel: &str, heard: &impl Fn(Option<&str>)) -> Option<Ear> {
    let (sender, mut payloads) = mpsc::unbounded_channel();
    let unasked = move |message| {
        if let AsyncMessage::Notification(told) = message {
            // Nobody hears any more when this store is being closed.
            let _closed = sender.send(told.payload().to_owned());
        }
    };
    let session = connector.connect_with(unasked).await.ok()?;
    session
        .batch_execute(&format!("LISTEN \"{channel}\""))
        .await
        .ok()?;
    heard(None);
    let hello = format!("{HELLO}{}", Uuid::new_v4().simple());
    let other = connector.connect().await.ok()?;
    let told = [(&channel as _, Type::TEXT), (&hello as _, Type::TEXT)];
    other
        .query_typed("SELECT pg_notify($1, $2)", &told)
        .await
        .ok()?;
    let echo = async {
        while let Some(payload) = payloads.recv().await {
            if payload == hello {
                return true;
            }
            hear(&payload, heard);
        }
        false
    };
    let echoes = tokio::time::timeout(ECHO, echo).await.unwrap_or(false);
    Some(Ear {
        session,
        payloads,
        echoes,
    })
}

/// Hears until the session ends.
async fn stay(
    session: &Session,
    mut payloads: UnboundedReceiver<String>,
    heard: &impl Fn(Option<&str>),
) {
    loop {
        match tokio::time::timeout(QUIET, payloads.recv()).await {
            Ok(Some(payload)) => hear(&payload, heard),
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

fn hear(payload: &str, heard: &impl Fn(Option<&str>)) {
    // Others tell themselves something too.
    if !payload.starts_with(HELLO) {
        heard(Some(payload));
    }
}
