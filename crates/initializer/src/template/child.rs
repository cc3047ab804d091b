//! A child process that renders the texts of a template, with limits for its time and memory.
//!
//! The fuel of the language bounds the steps of a rendering, but not the work of every one: to
//! compare, or to write down, two lists of lists that share their items takes a step, and may take
//! hours and all memory. A thread cannot be ended, a process can. Rejected: to follow the values in
//! the engine, which has no hook at its operators and literals.

use std::io::{self, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, Signal, setrlimit};

use super::limits::TOTAL;
use super::texts::{Rendered, Texts};
use super::{RenderError, TemplateError};

/// The only argument of the program that [`render_in_child`] names, by which it knows that it is to
/// call [`child_main`].
pub const CHILD_ARGUMENT: &str = "__render-template";

/// Processor time of a child. `docs/operations.md` names it.
const SECONDS: u64 = 10;

/// Memory of a child.
const MEMORY: u64 = 1 << 30;

/// Longest answer of a child: the largest template, each of whose bytes JSON may write in six.
const LONGEST: u64 = 6 * TOTAL + (64 << 20);

static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Renders the texts of templates that are not built in by this program from now on, in a child
/// process that may take 10 s of processor time and 1 GiB of memory. Without it they are rendered
/// in this process, within the language's fuel, which bounds nearly all of their work. The first
/// call counts.
pub fn render_in_child(program: PathBuf) {
    let _first = PROGRAM.set(program);
}

/// Reads texts from the standard input, and writes what they give to the standard output: all that
/// the child does.
pub fn child_main() -> ExitCode {
    // The soft limit sends a signal that says what happened, the hard one ends what does not heed
    // it.
    limit(Resource::Cpu, SECONDS, SECONDS + 1);
    limit(Resource::As, MEMORY, MEMORY);
    limit(Resource::Core, 0, 0);
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn limit(resource: Resource, current: u64, maximum: u64) {
    let limit = Rlimit {
        current: Some(current),
        maximum: Some(maximum),
    };
    // A lower limit of the parent's holds.
    let _ = setrlimit(resource, limit);
}

fn answer() -> io::Result<()> {
    let mut input = Vec::new();
    io::stdin().lock().read_to_end(&mut input)?;
    let texts: Texts = serde_json::from_slice(&input)?;
    drop(input);
    let mut out = io::BufWriter::new(io::stdout().lock());
    serde_json::to_writer(&mut out, &texts.render_here())?;
    out.flush()
}

/// Renders texts in a child process; in this one when no program is set.
pub(super) fn render(texts: &Texts) -> Result<Vec<Rendered>, RenderError> {
    let Some(program) = PROGRAM.get() else {
        return Ok(texts.render_here());
    };
    let input = serde_json::to_vec(texts).map_err(io::Error::from)?;
    let child = Command::new(program)
        .arg(CHILD_ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let (output, status) = talk(child, &input)?;
    if status.success() {
        return Ok(serde_json::from_slice(&output).map_err(io::Error::from)?);
    }
    Err(ended(status))
}

/// Gives a child its input and reads its output. It writes nothing before it has read all.
fn talk(mut child: Child, input: &[u8]) -> io::Result<(Vec<u8>, ExitStatus)> {
    let output = exchange(&mut child, input);
    // Its status says more than a pipe that it closed.
    let status = child.wait()?;
    if status.success() {
        Ok((output?, status))
    } else {
        Ok((Vec::new(), status))
    }
}

fn exchange(child: &mut Child, input: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::new();
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input)?;
    }
    if let Some(stdout) = child.stdout.take() {
        stdout.take(LONGEST).read_to_end(&mut output)?;
    }
    Ok(output)
}

fn ended(status: ExitStatus) -> RenderError {
    let limits = [
        (Signal::XCPU, format!("{SECONDS} s of processor time")),
        (
            Signal::KILL,
            format!("{SECONDS} s of processor time, or the machine's memory"),
        ),
        (Signal::ABORT, format!("{} MiB of memory", MEMORY >> 20)),
    ];
    let signal = status.signal();
    let limit = limits
        .into_iter()
        .find(|(limit, _)| signal == Some(limit.as_raw()));
    match limit {
        Some((_, limit)) => TemplateError(format!(
            "the template cannot be rendered: it takes more than {limit}; make it do less, or copy files as they are with \
             `raw:`"
        ))
        .into(),
        None => io::Error::other(format!("the process that renders it ended: {status}")).into(),
    }
}
