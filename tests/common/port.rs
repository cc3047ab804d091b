//! Ports for servers that tests start.

use tokio::net::TcpSocket;

/// One that nobody else is given before this process ends. Who listens on it is not disturbed: a socket that is bound and does
/// not listen stands in the way only of those who take any port.
pub(crate) fn free_port() -> u16 {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("it is not bound yet");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let port = socket.local_addr().expect("an address").port();
    std::mem::forget(socket);
    port
}
