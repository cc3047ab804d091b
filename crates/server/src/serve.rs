//! The server: answers on a listener until it is told to stop.

use std::time::Duration;

use surefoot::Client;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::AuthError;
use crate::options::ServerOptions;
use crate::state::App;
use crate::{alerts, http};

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It would stand open, or cannot tell who people are.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The listener cannot be used.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

/// How often the servers on one store tell each other of their secret.
const SECRET: Duration = Duration::from_secs(20);

/// Serves until `stop` is cancelled; streams end then, and requests under way are given a moment.
///
/// # Errors
/// See [`ServeError`]. What goes wrong with one request ends no server.
pub async fn serve(
    listener: TcpListener,
    client: Client,
    options: ServerOptions,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let limits = options.limits;
    let here = ["127.0.0.0/8", "::1"]
        .iter()
        .filter_map(|network| network.parse().ok());
    let free = options
        .auth
        .trusted_proxies
        .iter()
        .copied()
        .chain(here)
        .collect();
    let peers = http::Peers::new(limits.connections_per_peer, free);
    let app = App::new(client, options, listener.local_addr()?, stop.clone()).await?;
    let mut tasks = JoinSet::new();
    alerts::start(&app, &mut tasks);
    tasks.spawn(agree(app.clone()));
    let looking = app.clone();
    tasks.spawn(async move { looking.checkups().run().await });
    let watching = app.clone();
    tasks.spawn(async move { watching.workflows().watch().await });
    http::answer(listener, http::router(&app), limits, peers, stop).await;
    app.hub().close().await;
    tasks.shutdown().await;
    Ok(())
}

/// Tells the other servers on the store that this one still signs with its secret.
async fn agree(app: App) {
    loop {
        tokio::time::sleep(SECRET).await;
        if let Err(error) = app.auth().agree_on_secret().await {
            tracing::warn!(%error, "cannot agree with other servers on a secret");
        }
    }
}
