//! ${{ name }}: answers HTTP/1.1 requests, one thread for each connection, one request for each
//! connection.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// The name that the service answers with.
pub const NAME: &str = "${{ name }}";
/// A request's line and headers may not be longer than this.
const LONGEST_HEAD: u64 = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent back.
#[derive(Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: String,
}

impl Response {
    fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
        }
    }

    fn reason(&self) -> &'static str {
        match self.status {
            200 => "OK",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            _ => "Internal Server Error",
        }
    }
}

/// Decides what to answer; add your routes here.
pub fn route(method: &str, path: &str) -> Response {
    match (method, path) {
        ("GET" | "HEAD", "/healthz") => Response::new(200, "ok\n"),
        ("GET" | "HEAD", "/") => Response::new(200, format!("hello from {NAME}\n")),
        ("GET" | "HEAD", _) => Response::new(404, "not found\n"),
        _ => Response::new(405, "method not allowed\n"),
    }
}

/// Answers connections until the listener fails.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        std::thread::spawn(move || {
            if let Err(error) = answer(&stream) {
                eprintln!("connection: {error}");
            }
        });
    }
}

fn answer(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = read_head(stream)?;
    let mut words = head.split_whitespace();
    let method = words.next().unwrap_or_default();
    let target = words.next();
    let response = match target {
        Some(target) => route(method, target.split('?').next().unwrap_or(target)),
        None => Response::new(400, "bad request\n"),
    };
    write_response(stream, &response, method == "HEAD")
}

/// Reads up to the empty line that ends the headers, and gives the request line.
fn read_head(stream: &TcpStream) -> io::Result<String> {
    let mut reader = BufReader::new(stream.take(LONGEST_HEAD));
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        line.clear();
    }
    Ok(first)
}

fn write_response(mut stream: &TcpStream, response: &Response, head_only: bool) -> io::Result<()> {
    let Response { status, body } = response;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n",
        response.reason()
    );
    stream.write_all(head.as_bytes())?;
    if !head_only {
        stream.write_all(body.as_bytes())?;
    }
    stream.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        assert_eq!(route("GET", "/healthz"), Response::new(200, "ok\n"));
        assert!(route("GET", "/").body.contains(NAME));
        assert_eq!(route("GET", "/nowhere").status, 404);
        assert_eq!(route("DELETE", "/").status, 405);
    }
}
