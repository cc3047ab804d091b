//! Connections: how many there may be, how long a client may take to say what it wants, and how they end.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::options::RequestLimits;

/// Between two tries to accept, when the process has no file handles left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Answers on the listener until `stop` is cancelled, and then ends what is open.
pub(crate) async fn answer(listener: TcpListener, router: Router, limits: RequestLimits, stop: CancellationToken) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let ended = CancellationToken::new();
    while let Some((stream, address, permit)) = next(&listener, &room, &stop).await {
        let connection = connection(stream, address, router.clone(), limits, stop.clone());
        let ended = ended.clone();
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = ended.cancelled() => {}
            }
            drop(permit);
        });
    }
    connections.close();
    // Each connection has had its grace period by then.
    let _late = tokio::time::timeout(limits.grace + Duration::from_secs(1), connections.wait()).await;
    ended.cancel();
    connections.wait().await;
}

/// The next connection; `None` when the server stops.
async fn next(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = room.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => return Some((stream, address, permit)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(OUT_OF_FILES).await;
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        accepted = accepted => accepted,
    }
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    limits: RequestLimits,
    stop: CancellationToken,
) {
    // Events are small and are to be seen at once. A socket that refuses is as slow as it likes.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        let router = router.clone();
        async move {
            Ok::<_, Infallible>(
                router.oneshot(request.map(axum::body::Body::new)).await.unwrap_or_else(|never| match never {}),
            )
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            match tokio::time::timeout(limits.grace, serving).await {
                Ok(served) => served,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%address, %error, "a connection ended badly");
    }
}
