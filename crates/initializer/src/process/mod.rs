//! Runs a command so that nothing of it stays behind: not after its end, not after a cancel, not when this process is
//! killed while it runs.
//!
//! A process that leaves its group on purpose (`setsid`) is out of reach: it asked to be a daemon.

mod environment;
mod group;
mod limits;
mod lines;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub use environment::{allow_environment, pass_environment};
pub use group::Group;
pub use limits::raise_descriptor_limit;
pub use lines::Lines;

/// How long a command that is told to stop may take to do so.
const GRACE: Duration = Duration::from_secs(2);

/// How long what a command left behind may go on writing, such as `tee` at the end of a pipe, before it is killed.
const SETTLE: Duration = Duration::from_millis(100);

/// How long output is awaited once all is killed. Only a process that left the group still holds the pipe then.
const DRAIN: Duration = Duration::from_millis(500);

/// Where a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// What it left: an exit status or a signal.
    pub status: ExitStatus,
    /// Whether it was told to stop because of the cancellation.
    pub cancelled: bool,
}

/// Takes the variables whose names begin with one of `prefixes` from what `command` inherits.
pub fn without_inherited(command: &mut Command, prefixes: &[&str]) {
    for (name, _) in std::env::vars_os() {
        if prefixes
            .iter()
            .any(|prefix| name.to_string_lossy().starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
}

/// Runs a command to its end, in a process group of its own, with `input` as its standard input and `on_output` given
/// every piece of what it writes.
///
/// When `cancel` fires the group is sent TERM, and KILL after two seconds. When this future is dropped it is sent KILL at
/// once. When this process dies the group dies with it. What is left of the group when the command ends is killed.
///
/// # Errors
/// When the command cannot be started; its failure is no error here.
pub async fn run(
    command: &mut Command,
    input: Option<&[u8]>,
    cancel: &CancellationToken,
    mut on_output: impl FnMut(Stream, &[u8]),
) -> io::Result<Ended> {
    let group = Group::start()?;
    let mut child = spawn(command, &group, input.is_some())?;
    let mut feed = Box::pin(feed(child.stdin.take(), input.unwrap_or_default()));
    let mut running = Running {
        out: Pipe::new(child.stdout.take()),
        err: Pipe::new(child.stderr.take()),
        child,
        group,
        status: None,
        stage: Stage::Running,
        fed: false,
    };
    let status = loop {
        match running.next(&mut feed, cancel).await? {
            Happening::Output(stream, length) => on_output(stream, running.piece(stream, length)),
            Happening::Fed => running.fed = true,
            Happening::Exited(status) => running.exited(status),
            Happening::Cancelled => running.stop(),
            Happening::TimeUp => running.time_up(),
        }
        if let Some(status) = running.ended() {
            break status;
        }
    };
    running.group.end().await;
    Ok(Ended {
        status,
        cancelled: running.stage.was_stopped(),
    })
}

fn spawn(command: &mut Command, group: &Group, with_input: bool) -> io::Result<Child> {
    let child = command
        .process_group(group.id())
        .stdin(if with_input {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    limits::restore_for(child.id());
    Ok(child)
}

/// Returns whether a command was not started because the system has no process left for this worker's user (`EAGAIN`).
pub(crate) fn meets_shortage(error: &(dyn std::error::Error + 'static)) -> bool {
    let no_process = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(no_process)
}

/// A command that does not read its input to the end closes the pipe: that is its affair.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// What there is to react to while a command runs.
enum Happening {
    Output(Stream, usize),
    Fed,
    Exited(ExitStatus),
    Cancelled,
    TimeUp,
}

/// How far a command is. Each stage but the first has an end.
enum Stage {
    Running,
    /// It was sent TERM.
    Stopping(Instant),
    /// It ended by itself, and something of it holds its output open.
    Settling(Instant),
    /// The whole group was sent KILL.
    Killed(Instant, bool),
}

impl Stage {
    fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Running => None,
            Self::Stopping(at) | Self::Settling(at) | Self::Killed(at, _) => Some(*at),
        }
    }

    fn was_stopped(&self) -> bool {
        matches!(self, Self::Stopping(_) | Self::Killed(_, true))
    }
}

struct Running {
    child: Child,
    group: Group,
    out: Pipe,
    err: Pipe,
    status: Option<ExitStatus>,
    stage: Stage,
    fed: bool,
}

impl Running {
    async fn next<F: Future<Output = ()>>(
        &mut self,
        feed: &mut Pin<Box<F>>,
        cancel: &CancellationToken,
    ) -> io::Result<Happening> {
        let deadline = self.stage.deadline();
        let killed = matches!(self.stage, Stage::Killed(..));
        Ok(tokio::select! {
            length = self.out.read(), if self.out.open => Happening::Output(Stream::Out, length),
            length = self.err.read(), if self.err.open => Happening::Output(Stream::Err, length),
            () = feed, if !self.fed => Happening::Fed,
            status = self.child.wait(), if self.status.is_none() => Happening::Exited(status?),
            () = cancel.cancelled(), if deadline.is_none() => Happening::Cancelled,
            () = tokio::time::sleep_until(deadline.unwrap_or_else(Instant::now)),
                if deadline.is_some() && !(killed && self.status.is_none()) => Happening::TimeUp,
        })
    }

    fn piece(&self, stream: Stream, length: usize) -> &[u8] {
        match stream {
            Stream::Out => &self.out.buffer[..length],
            Stream::Err => &self.err.buffer[..length],
        }
    }

    fn exited(&mut self, status: ExitStatus) {
        self.status = Some(status);
        if matches!(self.stage, Stage::Running) {
            self.stage = Stage::Settling(Instant::now() + SETTLE);
        }
    }

    fn stop(&mut self) {
        self.group.signal(Signal::TERM);
        self.stage = Stage::Stopping(Instant::now() + GRACE);
    }

    fn time_up(&mut self) {
        if matches!(self.stage, Stage::Killed(..)) {
            self.out.open = false;
            self.err.open = false;
            return;
        }
        self.group.signal(Signal::KILL);
        self.stage = Stage::Killed(Instant::now() + DRAIN, self.stage.was_stopped());
    }

    /// A command has ended when it has exited and nobody holds its output open.
    fn ended(&self) -> Option<ExitStatus> {
        self.status.filter(|_| !self.out.open && !self.err.open)
    }
}

/// One of the command's outputs.
struct Pipe {
    reader: Option<Box<dyn AsyncRead + Send + Sync + Unpin>>,
    buffer: Vec<u8>,
    open: bool,
}

impl Pipe {
    fn new(reader: Option<impl AsyncRead + Send + Sync + Unpin + 'static>) -> Self {
        let open = reader.is_some();
        Self {
            reader: reader.map(|reader| Box::new(reader) as _),
            buffer: vec![0; 16 * 1024],
            open,
        }
    }

    /// The length of what was read; at the end of the output 0, and the pipe is closed.
    async fn read(&mut self) -> usize {
        let length = match &mut self.reader {
            Some(reader) => reader.read(&mut self.buffer).await.unwrap_or(0),
            None => 0,
        };
        self.open = length > 0;
        length
    }
}

#[cfg(test)]
mod tests;
