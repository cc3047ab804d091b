//! The server: answers on a listener until it is told to stop.

use surefoot::Client;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::auth::AuthError;
use crate::options::ServerOptions;
use crate::state::App;
use crate::{alerts, http};

/// Why a server does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It would stand open, or cannot tell who people are.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// The listener cannot be used.
    #[error("cannot listen: {0}")]
    Listen(#[from] std::io::Error),
}

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
    let app = App::new(client, options, listener.local_addr()?, stop.clone()).await?;
    let mut tasks = JoinSet::new();
    alerts::start(&app, &mut tasks);
    let service = http::router(&app).into_make_service_with_connect_info::<std::net::SocketAddr>();
    axum::serve(listener, service).with_graceful_shutdown(stop.cancelled_owned()).await?;
    tasks.shutdown().await;
    Ok(())
}
