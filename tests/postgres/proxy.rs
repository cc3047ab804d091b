//! A proxy between a process and its database that counts writes: at the n-th write it lets a test
//! inject a fault, before the database has received the write or after it took place and before the
//! process has the answer.

use std::collections::HashMap;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;

/// Time of the fault relative to the write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
    /// Before, but the write is then passed on.
    Meanwhile,
}

/// Effect of a write on runs. Of a transaction, the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Write {
    /// On plans, queues or workers.
    Other,
    /// A claim, or a commit of a lease holder, in a transaction.
    Change,
    /// Commits of lease holders in a batch: one statement without a transaction.
    Group,
    Submission,
}

/// The fault; its argument is the process id of the session's backend.
type Worst = Box<dyn FnOnce(i32) + Send>;

struct Plan {
    at: u64,
    when: When,
    writes: AtomicU64,
    worst: Mutex<Option<Worst>>,
    which: OnceLock<Write>,
    met: AtomicBool,
}

/// Runs until the process ends.
pub(crate) struct Proxy {
    plan: Arc<Plan>,
    port: u16,
}

impl Proxy {
    /// Starts in front of the server at `port`; injects the fault at write number `at`.
    pub(crate) fn start(
        port: u16,
        at: u64,
        when: When,
        worst: impl FnOnce(i32) + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = listener.local_addr().expect("an address").port();
        let worst: Worst = Box::new(worst);
        let writes = AtomicU64::new(0);
        let met = AtomicBool::new(false);
        let plan = Plan {
            at,
            when,
            writes,
            worst: Mutex::new(Some(worst)),
            which: OnceLock::new(),
            met,
        };
        let plan = Arc::new(plan);
        let shared = plan.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down ends the session, as it would without the proxy.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    serve(client, server, shared.clone());
                }
            }
        });
        Self { plan, port: here }
    }

    /// URL of a database of the server through the proxy.
    pub(crate) fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{}/{database}?sslmode=disable",
            self.port
        )
    }

    /// The write at which the fault was injected, if there was one.
    pub(crate) fn met(&self) -> Option<Write> {
        if !self.plan.met.load(Ordering::SeqCst) {
            return None;
        }
        self.plan.which.get().copied()
    }
}

impl Plan {
    /// Counts a write; returns whether it is the chosen one.
    fn is_chosen(&self, write: Write) -> bool {
        let is_chosen = self.writes.fetch_add(1, Ordering::SeqCst) + 1 == self.at;
        is_chosen && self.which.set(write).is_ok()
    }

    fn do_worst(&self, session: &Session) {
        let worst = self.worst.lock().expect("no panic").take();
        if let Some(worst) = worst {
            // First, because a process that is killed here may be seen to end at once.
            self.met.store(true, Ordering::SeqCst);
            worst(session.backend.load(Ordering::SeqCst));
        }
    }
}

/// State shared by the two directions of a session.
struct Session {
    backend: AtomicI32,
    /// Number of the server's "ready" message that answers the write; neither it nor the rest of
    /// its answer is passed on.
    hushed: AtomicU64,
}

fn serve(client: TcpStream, server: TcpStream, plan: Arc<Plan>) {
    let session = Arc::new(Session {
        backend: AtomicI32::new(0),
        hushed: AtomicU64::new(u64::MAX),
    });
    // Without Nagle's algorithm: no message waits for the acknowledgement of the previous one.
    let _quick = (client.set_nodelay(true), server.set_nodelay(true));
    let pair = || {
        (
            client.try_clone().expect("a socket"),
            server.try_clone().expect("a socket"),
        )
    };
    let (from, to) = pair();
    let shared = plan.clone();
    let known = session.clone();
    thread::spawn(move || {
        let _ended = forth(&from, &to, &shared, &known);
        let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    let (to, from) = pair();
    thread::spawn(move || {
        let _ended = back(&from, &to, &plan, &session);
        let _gone = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
}

/// Reads one message: its kind, and the whole of it.
fn message(from: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut whole = vec![0; 1 + length];
    whole[..5].copy_from_slice(&head);
    from.read_exact(&mut whole[5..])?;
    Ok((head[0], whole))
}

/// Requests of a session so far.
#[derive(Default)]
struct Asked {
    /// Kinds of writes of statements, by name. A one-off statement has the empty name.
    statements: HashMap<Vec<u8>, Option<Write>>,
    /// Write of the open transaction.
    transaction: Option<Option<Write>>,
    /// Requests that the server answers with "ready".
    requests: u64,
}

impl Asked {
    /// The write that takes place with this message, if any: that of a statement without a
    /// transaction, or that of a transaction with its COMMIT.
    fn hear(&mut self, kind: u8, message: &[u8]) -> Option<Write> {
        let mut words = message[5..].split(|byte| *byte == 0);
        let first = words.next().unwrap_or_default();
        let second = words.next().unwrap_or_default();
        match kind {
            b'P' => {
                self.statements.insert(first.to_vec(), of_statement(second));
                None
            }
            // A portal and its statement.
            b'B' => {
                let write = self
                    .statements
                    .get(second)
                    .copied()
                    .expect("a statement that was prepared here");
                match &mut self.transaction {
                    Some(all) => {
                        *all = (*all).max(write);
                        None
                    }
                    None if write == Some(Write::Change) => Some(Write::Group),
                    None => write,
                }
            }
            b'Q' if first.starts_with(b"BEGIN") || first.starts_with(b"START TRANSACTION") => {
                self.transaction = Some(None);
                None
            }
            b'Q' if first == b"COMMIT" => self.transaction.take().flatten(),
            b'Q' if first == b"ROLLBACK" => {
                self.transaction = None;
                None
            }
            _ => None,
        }
    }
}

/// Kind of write of a statement. Heartbeats and maintenance do not count here, because their number
/// between two writes depends on timing.
fn of_statement(text: &[u8]) -> Option<Write> {
    let text = String::from_utf8_lossy(text);
    let has = |part: &str| text.contains(part);
    let writes = |table: &str| {
        ["INSERT INTO", "UPDATE", "DELETE FROM"]
            .iter()
            .any(|word| has(&format!(r#"{word} "surefoot".{table} "#)))
    };
    if has(r#"INSERT INTO "surefoot".runs"#) {
        Some(Write::Submission)
    } else if has(r#"UPDATE "surefoot".runs AS r SET status"#) {
        Some(Write::Change)
    } else if has(r#"UPDATE "surefoot".workers SET heartbeat_at"#) {
        None
    } else {
        ["plans", "workflows", "queues", "workers"]
            .iter()
            .any(|table| writes(table))
            .then_some(Write::Other)
    }
}

fn forth(
    mut from: &TcpStream,
    mut to: &TcpStream,
    plan: &Plan,
    session: &Session,
) -> std::io::Result<()> {
    // The first message has no kind.
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut first = vec![0; u32::from_be_bytes(length) as usize - 4];
    from.read_exact(&mut first)?;
    to.write_all(&[&length[..], &first].concat())?;
    let mut asked = Asked::default();
    loop {
        let (kind, whole) = message(&mut from)?;
        let write = asked.hear(kind, &whole);
        if write.is_some_and(|write| plan.is_chosen(write)) {
            match plan.when {
                When::Before => {
                    plan.do_worst(session);
                    // Nothing more of this gets through, whatever the fault was.
                    return Ok(());
                }
                // The first "ready" precedes any request.
                When::After => session
                    .hushed
                    .store(1 + asked.requests + 1, Ordering::SeqCst),
                When::Meanwhile => plan.do_worst(session),
            }
        }
        asked.requests += u64::from(matches!(kind, b'S' | b'Q'));
        to.write_all(&whole)?;
    }
}

fn back(
    mut from: &TcpStream,
    mut to: &TcpStream,
    plan: &Plan,
    session: &Session,
) -> std::io::Result<()> {
    let mut ready = 0;
    loop {
        let (kind, whole) = message(&mut from)?;
        if kind == b'K' {
            session.backend.store(
                i32::from_be_bytes([whole[5], whole[6], whole[7], whole[8]]),
                Ordering::SeqCst,
            );
        }
        let is_its_answer = ready + 1 == session.hushed.load(Ordering::SeqCst);
        if !is_its_answer {
            to.write_all(&whole)?;
        }
        if kind == b'Z' {
            if is_its_answer {
                plan.do_worst(session);
                return Ok(());
            }
            ready += 1;
        }
    }
}
