//! Accepts and serves connections: their number, the time limit for a request's head, and shutdown.

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

use super::peers::Peers;
use super::write_timeout::WriteTimeout;
use crate::options::RequestLimits;

/// Pause between attempts to accept while the process has no file descriptors left.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Serves the listener until `stop` is cancelled, then closes open connections.
pub(crate) async fn serve_connections(
    listener: TcpListener,
    router: Router,
    limits: RequestLimits,
    peers: Peers,
    stop: CancellationToken,
) {
    let slots = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let ended = CancellationToken::new();
    while let Some((stream, address, permit)) = accept(&listener, &slots, &stop).await {
        // A connection over the peer's limit is closed at once.
        let Some(peer_permit) = peers.permit(address.ip()) else {
            tracing::debug!(%address, "closed a connection over the limit of its peer");
            continue;
        };
        let connection = connection(stream, address, router.clone(), limits, stop.clone());
        let ended = ended.clone();
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = ended.cancelled() => {}
            }
            drop((permit, peer_permit));
        });
    }
    connections.close();
    // Each connection has had its grace period by then.
    let _late =
        tokio::time::timeout(limits.grace + Duration::from_secs(1), connections.wait()).await;
    ended.cancel();
    connections.wait().await;
}

/// Accepts the next connection; `None` when the server stops.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let accepted = async {
        let permit = slots.clone().acquire_owned().await.ok()?;
        loop {
            match listener.accept().await {
                Ok((stream, address)) => return Some((stream, address, permit)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_RETRY_PAUSE).await;
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
    // Events are small and urgent, so Nagle's algorithm is off. If the option is refused, they
    // arrive a little later.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(address));
        let router = router.clone();
        async move {
            Ok::<_, Infallible>(
                router
                    .oneshot(request.map(axum::body::Body::new))
                    .await
                    .unwrap_or_else(|never| match never {}),
            )
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.head);
    let mut serving = pin!(http.serve_connection(
        TokioIo::new(WriteTimeout::new(stream, limits.write)),
        service
    ));
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
        tracing::debug!(%address, %error, "a connection failed");
    }
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    const TEST_TIMEOUT: Duration = Duration::from_secs(20);

    async fn serve(
        router: Router,
        limits: RequestLimits,
        peers: Peers,
    ) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_connections(
            listener,
            router,
            limits,
            peers,
            CancellationToken::new(),
        ));
        (address, tasks)
    }

    async fn send_request(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // If the connection is closed at once, the write may fail.
        let _ = stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        stream
    }

    /// The first byte of the response; `None` when the connection is closed without one.
    async fn first_byte(stream: &mut TcpStream) -> Option<u8> {
        tokio::time::timeout(TEST_TIMEOUT, stream.read_u8())
            .await
            .expect("neither a response nor a close")
            .ok()
    }

    /// Notifies when it is dropped.
    struct Guard(Arc<Notify>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    /// The response is endless, and the client reads nothing after its first byte.
    #[tokio::test]
    async fn a_connection_whose_client_reads_nothing_is_closed() {
        let ended = Arc::new(Notify::new());
        let guard = ended.clone();
        let endless = move || {
            let piece = |guard| async move {
                Some((Ok::<_, Infallible>(Bytes::from(vec![0; 1 << 16])), guard))
            };
            std::future::ready(Body::from_stream(stream::unfold(
                Guard(guard.clone()),
                piece,
            )))
        };
        let limits = RequestLimits {
            write: Duration::from_millis(100),
            ..RequestLimits::default()
        };
        let router = Router::new().fallback(endless);
        let (address, _tasks) = serve(router, limits, Peers::new(9, Vec::new())).await;
        let mut silent = send_request(address).await;
        assert_eq!(first_byte(&mut silent).await, Some(b'H'));
        tokio::time::timeout(TEST_TIMEOUT, ended.notified())
            .await
            .expect("the response is kept although the client reads nothing");
    }

    #[tokio::test]
    async fn one_peer_cannot_use_up_the_connection_limit() {
        let router = Router::new().fallback(async || "here");
        let (address, _tasks) =
            serve(router, RequestLimits::default(), Peers::new(2, Vec::new())).await;
        let mut first = send_request(address).await;
        let mut second = send_request(address).await;
        assert_eq!(
            (first_byte(&mut first).await, first_byte(&mut second).await),
            (Some(b'H'), Some(b'H'))
        );
        assert_eq!(
            first_byte(&mut send_request(address).await).await,
            None,
            "a third is closed"
        );
        drop(first);
        let again = async { while first_byte(&mut send_request(address).await).await.is_none() {} };
        tokio::time::timeout(TEST_TIMEOUT, again)
            .await
            .expect("the released connection is available again");
    }
}
