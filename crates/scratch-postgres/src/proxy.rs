//! A TCP proxy in front of a server whose connections can fall silent: nothing comes through any
//! more, and nothing is closed. That is a half-open connection, as a firewall that forgets it or a
//! cable that is pulled leaves behind.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::{ScratchError, while_doing};

/// The connections that fall silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// Connections that carried a worker's heartbeats.
    Heartbeats,
    /// All open connections.
    All,
    /// All that are open and all later ones: the host accepts connections and never answers.
    Host,
}

/// Part of the statement that renews a worker's lease. Named statements are sent once for each
/// connection, before they are used.
const HEARTBEAT: &[u8] = b".workers SET";

/// Forwards connections on a port of its own to a server on the loopback. It goes on until the
/// process ends.
#[derive(Debug)]
pub struct ScratchProxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    connections: Mutex<Vec<Arc<Forwarded>>>,
    /// New connections are silent from the beginning.
    is_silent: AtomicBool,
}

/// A connection that is forwarded.
#[derive(Debug)]
struct Forwarded {
    is_silent: AtomicBool,
    has_heartbeats: AtomicBool,
    /// Directions that are still open.
    open: AtomicUsize,
}

impl ScratchProxy {
    /// Starts it in front of the server at `port`.
    ///
    /// # Errors
    /// When no port can be bound.
    pub fn start(port: u16) -> Result<Self, ScratchError> {
        let listener =
            TcpListener::bind("127.0.0.1:0").map_err(while_doing("cannot bind to the loopback"))?;
        let here = listener
            .local_addr()
            .map_err(while_doing("cannot see what was bound"))?
            .port();
        let proxy = Self {
            port: here,
            shared: Arc::default(),
        };
        let shared = proxy.shared.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down ends the connection, as it would without this.
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else {
                    continue;
                };
                let connection = Arc::new(Forwarded {
                    is_silent: AtomicBool::new(shared.is_silent.load(Ordering::SeqCst)),
                    has_heartbeats: AtomicBool::new(false),
                    open: AtomicUsize::new(2),
                });
                if forward(&client, &server, &connection).is_ok() {
                    let mut known = lock(&shared.connections);
                    known.retain(|one| one.open.load(Ordering::SeqCst) > 0);
                    known.push(connection);
                }
            }
        });
        Ok(proxy)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// URL of a database of the server through this proxy, for the superuser: without a password
    /// and without TLS.
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// Silences connections. Returns how many were open.
    pub fn silence(&self, which: Silence) -> usize {
        if which == Silence::Host {
            self.shared.is_silent.store(true, Ordering::SeqCst);
        }
        let mut silenced = 0;
        for one in lock(&self.shared.connections).iter() {
            let is_meant =
                which != Silence::Heartbeats || one.has_heartbeats.load(Ordering::SeqCst);
            if is_meant && one.open.load(Ordering::SeqCst) > 0 {
                silenced += usize::from(!one.is_silent.swap(true, Ordering::SeqCst));
            }
        }
        silenced
    }

    /// Returns how many silent connections one end has given up.
    pub fn given_up(&self) -> usize {
        let is_given_up = |one: &&Arc<Forwarded>| {
            one.is_silent.load(Ordering::SeqCst) && one.open.load(Ordering::SeqCst) < 2
        };
        lock(&self.shared.connections)
            .iter()
            .filter(is_given_up)
            .count()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Forwards both directions, each on a thread of its own.
fn forward(
    client: &TcpStream,
    server: &TcpStream,
    connection: &Arc<Forwarded>,
) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    for (from, to, is_request) in [(client, server, true), (server, client, false)] {
        let from = from.try_clone()?;
        let to = to.try_clone()?;
        let connection = connection.clone();
        thread::spawn(move || {
            let _ended = pump(&from, &to, is_request, &connection);
            connection.open.fetch_sub(1, Ordering::SeqCst);
            // A silent connection is left as it is: neither end hears of the other's end.
            if !connection.is_silent.load(Ordering::SeqCst) {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            }
        });
    }
    Ok(())
}

/// Forwards one direction until it ends. Of a silent connection the bytes are read and dropped, so
/// that each side believes that they arrived.
fn pump(
    mut from: &TcpStream,
    mut to: &TcpStream,
    is_request: bool,
    connection: &Forwarded,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let bytes = &buffer[..count];
        if is_request && bytes.windows(HEARTBEAT.len()).any(|part| part == HEARTBEAT) {
            connection.has_heartbeats.store(true, Ordering::SeqCst);
        }
        if !connection.is_silent.load(Ordering::SeqCst) {
            to.write_all(bytes)?;
        }
    }
}
