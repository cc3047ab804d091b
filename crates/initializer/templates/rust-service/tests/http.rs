//! Talks to a running service over a real connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || app::serve(&listener));
    address
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the service listens");
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    answer
}

#[test]
fn is_healthy() {
    let answer = ask(start(), "GET /healthz HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok\n"),
        "{answer}"
    );
}

#[test]
fn head_has_no_body_and_nonsense_is_refused() {
    let address = start();
    assert!(ask(address, "HEAD / HTTP/1.1\r\n\r\n").ends_with("\r\n\r\n"));
    assert!(ask(address, "\r\n\r\n").starts_with("HTTP/1.1 400 "));
}
