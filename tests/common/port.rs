//! Ports for servers that tests start.

use tokio::net::TcpSocket;

/// A port that no other process is given before this one ends. A listener on it is not disturbed: a
/// socket that is bound and does not listen only keeps the port from being assigned.
pub(crate) fn free_port() -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("it is not bound yet");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    std::mem::forget(socket);
    port
}
