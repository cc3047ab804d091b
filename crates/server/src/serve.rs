//! Runs the server on a listener until it is cancelled.

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
    /// Authentication is missing or misconfigured.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The listener cannot be used.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

/// Interval at which servers on one store confirm that they share a secret.
const SECRET_CHECK_INTERVAL: Duration = Duration::from_secs(20);

/// Serves until `stop` is cancelled. Streams then end, and requests under way get a grace period.
///
/// # Errors
/// See [`ServeError`]. An error in one request does not end the server.
pub async fn serve(
    listener: TcpListener,
    client: Client,
    options: ServerOptions,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let limits = options.limits;
    let loopback = ["127.0.0.0/8", "::1"]
        .iter()
        .filter_map(|network| network.parse().ok());
    let unlimited = options
        .auth
        .trusted_proxies
        .iter()
        .copied()
        .chain(loopback)
        .collect();
    let peers = http::Peers::new(limits.connections_per_peer, unlimited);
    let app = App::new(client, options, listener.local_addr()?, stop.clone()).await?;
    let mut tasks = JoinSet::new();
    alerts::start(&app, &mut tasks);
    tasks.spawn(confirm_secret(app.clone()));
    let checking = app.clone();
    tasks.spawn(async move { checking.checkups().run().await });
    let watching = app.clone();
    tasks.spawn(async move { watching.workflows().watch().await });
    http::serve_connections(listener, http::router(&app), limits, peers, stop).await;
    app.hub().close().await;
    tasks.shutdown().await;
    Ok(())
}

/// Confirms to the other servers on the store that this one still signs with its secret.
async fn confirm_secret(app: App) {
    loop {
        tokio::time::sleep(SECRET_CHECK_INTERVAL).await;
        if let Err(error) = app.auth().agree_on_secret().await {
            tracing::warn!(%error, "failed to confirm the secret shared with other servers");
        }
    }
}
