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

use super::peers::Peers;
use super::stalled::Impatient;
use crate::options::RequestLimits;

/// Between two tries to accept, when the process has no file handles left.
const OUT_OF_FILES: Duration = Duration::from_millis(100);

/// Answers on the listener until `stop` is cancelled, and then ends what is open.
pub(crate) async fn answer(
    listener: TcpListener,
    router: Router,
    limits: RequestLimits,
    peers: Peers,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let connections = TaskTracker::new();
    let ended = CancellationToken::new();
    while let Some((stream, address, permit)) = next(&listener, &room, &stop).await {
        // One more than it may have is closed, and the next is asked for.
        let Some(place) = peers.place(address.ip()) else {
            tracing::debug!(%address, "a peer has as many connections as it may");
            continue;
        };
        let connection = connection(stream, address, router.clone(), limits, stop.clone());
        let ended = ended.clone();
        connections.spawn(async move {
            tokio::select! {
                () = connection => {}
                () = ended.cancelled() => {}
            }
            drop((permit, place));
        });
    }
    connections.close();
    // Each connection has had its grace period by then.
    let _late =
        tokio::time::timeout(limits.grace + Duration::from_secs(1), connections.wait()).await;
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
    let mut serving =
        pin!(http.serve_connection(TokioIo::new(Impatient::new(stream, limits.write)), service));
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

#[cfg(test)]
mod tests {
    use axum::body::{Body, Bytes};
    use futures_util::stream;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::Notify;
    use tokio::task::JoinSet;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn serve(
        router: Router,
        limits: RequestLimits,
        peers: Peers,
    ) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(answer(
            listener,
            router,
            limits,
            peers,
            CancellationToken::new(),
        ));
        (address, tasks)
    }

    async fn ask(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // One that is closed at once may take nothing.
        let _ = stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await;
        stream
    }

    /// The first byte of the answer; `None` when the connection is closed without one.
    async fn answered(stream: &mut TcpStream) -> Option<u8> {
        tokio::time::timeout(PATIENCE, stream.read_u8())
            .await
            .expect("nothing comes of it")
            .ok()
    }

    /// Says when it is dropped.
    struct Guard(Arc<Notify>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }

    /// An answer without end, asked for by somebody who takes nothing of it.
    #[tokio::test]
    async fn who_takes_nothing_is_let_go() {
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
        let mut silent = ask(address).await;
        assert_eq!(answered(&mut silent).await, Some(b'H'));
        tokio::time::timeout(PATIENCE, ended.notified())
            .await
            .expect("the answer is held for somebody who does not take it");
    }

    #[tokio::test]
    async fn one_peer_does_not_hold_all_places() {
        let router = Router::new().fallback(async || "here");
        let (address, _tasks) =
            serve(router, RequestLimits::default(), Peers::new(2, Vec::new())).await;
        let (mut first, mut second) = (ask(address).await, ask(address).await);
        assert_eq!(
            (answered(&mut first).await, answered(&mut second).await),
            (Some(b'H'), Some(b'H'))
        );
        assert_eq!(
            answered(&mut ask(address).await).await,
            None,
            "a third is closed"
        );
        drop(first);
        let again = async { while answered(&mut ask(address).await).await.is_none() {} };
        tokio::time::timeout(PATIENCE, again)
            .await
            .expect("the place that was given back is free");
    }
}
