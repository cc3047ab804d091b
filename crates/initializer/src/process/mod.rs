//! Runs a command so that none of its processes is left behind: not after its end, not after a
//! cancel, not when this process is killed.
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

/// Grace period of a stopped command.
const GRACE: Duration = Duration::from_secs(2);

/// Time for which a command's remaining processes, such as `tee` at the end of a pipe, may go on
/// writing before they are killed.
const SETTLE: Duration = Duration::from_millis(100);

/// Time for which output is awaited after everything was killed. Only a process that left the group
/// can still hold the pipe then.
const DRAIN: Duration = Duration::from_millis(500);

/// Source of a piece of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// End of a command.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Its exit status or signal.
    pub status: ExitStatus,
    /// True if it was stopped because of the cancellation.
    pub cancelled: bool,
}

/// Removes the variables with one of these `prefixes` from the environment that `command` inherits.
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

/// Runs a command to its end in a separate process group, with `input` as its standard input;
/// `on_output` receives every piece of its output.
///
/// When `cancel` fires, the group is sent TERM, and KILL after two seconds. When this future is
/// dropped, the group is sent KILL at once. When this process dies, the group dies with it. When
/// the command ends, the rest of the group is killed.
///
/// # Errors
/// If the command cannot be started; its failure is no error here.
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

/// Returns whether a command was not started because the system has no process left for this
/// worker's user (`EAGAIN`).
pub(crate) fn meets_shortage(error: &(dyn std::error::Error + 'static)) -> bool {
    let no_process = |error: &io::Error| error.kind() == io::ErrorKind::WouldBlock;
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(no_process)
}

/// A command that does not read its input to the end closes the pipe, which is its own affair.
async fn feed(stdin: Option<ChildStdin>, input: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(input).await;
    }
}

/// Events while a command runs.
enum Happening {
    Output(Stream, usize),
    Fed,
    Exited(ExitStatus),
    Cancelled,
    TimeUp,
}

/// Progress of a command. Each stage but the first has a time limit.
enum Stage {
    Running,
    /// It was sent TERM.
    Stopping(Instant),
    /// It ended by itself, and another process of the group holds its output open.
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

    /// A command has ended when it has exited and its outputs are closed.
    fn ended(&self) -> Option<ExitStatus> {
        if self.out.open || self.err.open {
            return None;
        }
        self.status
    }
}

/// An output of the command.
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

    /// Number of bytes read; 0 at the end of the output, when the pipe is closed.
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
