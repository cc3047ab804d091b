//! Stands between a worker and its database and counts what is written: at the n-th write it lets a test do its worst, before
//! the database has heard of it or when it has taken place and the worker has not heard.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// When the worst is done to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    Before,
    After,
}

/// What is done; it is given the process id of the session's backend.
type Worst = Box<dyn FnOnce(i32) + Send>;

struct Plan {
    at: u64,
    when: When,
    writes: AtomicU64,
    worst: Mutex<Option<Worst>>,
    met: AtomicBool,
}

/// It goes on until the process ends.
pub(crate) struct Proxy {
    plan: Arc<Plan>,
    port: u16,
}

impl Proxy {
    /// In front of the server at `port`; does its worst at write number `at`.
    pub(crate) fn start(port: u16, at: u64, when: When, worst: impl FnOnce(i32) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let here = listener.local_addr().expect("an address").port();
        let worst: Worst = Box::new(worst);
        let (writes, met) = (AtomicU64::new(0), AtomicBool::new(false));
        let plan = Arc::new(Plan { at, when, writes, worst: Mutex::new(Some(worst)), met });
        let shared = plan.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down ends the session, as it would without this.
                if let Ok(server) = TcpStream::connect(("127.0.0.1", port)) {
                    serve(client, server, shared.clone());
                }
            }
        });
        Self { plan, port: here }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Whether there was such a write.
    pub(crate) fn met(&self) -> bool {
        self.plan.met.load(Ordering::SeqCst)
    }
}

/// What the two directions of a session tell each other.
#[derive(Default)]
struct Session {
    backend: AtomicI32,
    /// The write has been sent: its answer is not to be passed on.
    hushed: AtomicBool,
}

fn serve(client: TcpStream, server: TcpStream, plan: Arc<Plan>) {
    let session = Arc::new(Session::default());
    let pair = || (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
    let ((from, to), (shared, known)) = (pair(), (plan.clone(), session.clone()));
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

/// One message: its kind, and the whole of it.
fn message(from: &mut impl Read) -> std::io::Result<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    from.read_exact(&mut head)?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    let mut whole = vec![0; 1 + length];
    whole[..5].copy_from_slice(&head);
    from.read_exact(&mut whole[5..])?;
    Ok((head[0], whole))
}

/// Whether a message brings a statement that changes runs, or ends a transaction.
fn writes(kind: u8, message: &[u8]) -> bool {
    let has = |text: &str| message.windows(text.len()).any(|part| part == text.as_bytes());
    match kind {
        b'P' => has("UPDATE surefoot.runs") || has("INSERT INTO surefoot.runs"),
        b'Q' => has("COMMIT"),
        _ => false,
    }
}

fn forth(mut from: &TcpStream, mut to: &TcpStream, plan: &Plan, session: &Session) -> std::io::Result<()> {
    // The first message has no kind.
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut first = vec![0; u32::from_be_bytes(length) as usize - 4];
    from.read_exact(&mut first)?;
    to.write_all(&[&length[..], &first].concat())?;
    loop {
        let (kind, whole) = message(&mut from)?;
        if writes(kind, &whole) && plan.writes.fetch_add(1, Ordering::SeqCst) + 1 == plan.at {
            if plan.when == When::Before {
                do_worst(plan, session);
                // Nothing more of this gets through, whatever the worst was.
                return Ok(());
            }
            session.hushed.store(true, Ordering::SeqCst);
        }
        to.write_all(&whole)?;
    }
}

fn back(mut from: &TcpStream, mut to: &TcpStream, plan: &Plan, session: &Session) -> std::io::Result<()> {
    loop {
        let (kind, whole) = message(&mut from)?;
        if kind == b'K' {
            session.backend.store(i32::from_be_bytes([whole[5], whole[6], whole[7], whole[8]]), Ordering::SeqCst);
        }
        if !session.hushed.load(Ordering::SeqCst) {
            to.write_all(&whole)?;
        } else if kind == b'Z' {
            do_worst(plan, session);
            return Ok(());
        }
    }
}

fn do_worst(plan: &Plan, session: &Session) {
    let worst = plan.worst.lock().expect("nobody panicked").take();
    if let Some(worst) = worst {
        // First: a process that is killed here may be seen to end at once.
        plan.met.store(true, Ordering::SeqCst);
        worst(session.backend.load(Ordering::SeqCst));
    }
}
