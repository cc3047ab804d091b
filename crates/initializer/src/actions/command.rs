//! `command.run`: runs a command, or the lines of a shell script, in the workspace.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::Value;
use surefoot::files::{self, FileError, Links};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler};
use tempfile::TempDir;
use tokio::process::Command;

use super::fields::{Fields, text};
use super::shell::{self, Script, ShellError};
use super::{blocking, paths};
use crate::process::{self, Ended, Lines, Stream};

const FIELDS: Fields = Fields {
    required: &[],
    one_of: &["shell", "argv"],
    optional: &["env", "cwd", "credentials"],
};

/// Size limit of the output that a command may leave for later steps.
const LARGEST_OUTPUT: u64 = 1 << 20;
const UNUSABLE_OUTPUT: &str = "cannot use what the command left in SUREFOOT_OUTPUT";

/// Size limit of one attempt's part of the run's log: a command that never stops writing must not
/// fill the store.
const LARGEST_LOG: usize = 4 << 20;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    /// For `/bin/sh -c`.
    shell: Option<String>,
    argv: Option<Vec<String>>,
    #[serde(default)]
    env: BTreeMap<String, Value>,
    /// A directory of the workspace.
    #[serde(default)]
    cwd: String,
    /// Environment variables by the name of the credential that they hold.
    #[serde(default)]
    credentials: BTreeMap<String, String>,
}

pub(super) struct CommandRun;

#[async_trait]
impl StepHandler for CommandRun {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        let workspace = context.workspace().await?;
        let output = OutputFile::beside(&workspace)?;
        let script = script(context.written_input()).map_err(StepError::fatal)?;
        let mut command = prepare(&context, &input, script, &workspace, &output)?;
        let mut log = Log::new(&context);
        let ended = process::run(
            &mut command,
            None,
            context.cancellation(),
            |stream, piece| log.push(stream, piece),
        );
        let ended = ended.await.map_err(|error| not_started(&input, error))?;
        judge(ended, &log.finish())?;
        Ok(Output::new(blocking(move || output.read()).await?)?.into())
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)?;
        script(with).map(drop).map_err(|error| error.to_string())
    }
}

fn prepare(
    context: &StepContext,
    input: &Input,
    script: Option<Script>,
    workspace: &Path,
    output: &OutputFile,
) -> Result<Command, StepError> {
    let mut words = words(input, script.as_ref())?.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command
        .args(words)
        .current_dir(paths::existing(workspace, &input.cwd).map_err(paths::PathError::step)?);
    process::allow_environment(&mut command, &[]);
    for (name, value) in &input.env {
        command.env(
            variable(name)?,
            text(|| format!("the environment variable `{name}`"), value)?,
        );
    }
    for (name, credential) in &input.credentials {
        command.env(variable(name)?, context.credential(credential)?.expose());
    }
    for (name, value) in script.iter().flat_map(|script| &script.variables) {
        command.env(name, context.render(value)?);
    }
    command
        .env("SUREFOOT_RUN", context.run_id().to_string())
        .env("SUREFOOT_STEP", context.step_id())
        .env("SUREFOOT_ATTEMPT", context.attempt().to_string())
        .env("SUREFOOT_IDEMPOTENCY_KEY", context.idempotency_key())
        .env("SUREFOOT_OUTPUT", output.path());
    Ok(command)
}

/// The step's script, with variables in place of its expressions: a submitter's values are never
/// part of it.
fn script(with: &Value) -> Result<Option<Script>, ShellError> {
    match with {
        Value::String(_) => Err(ShellError::WHOLE),
        _ => with
            .get("shell")
            .and_then(Value::as_str)
            .map(shell::quote)
            .transpose(),
    }
}

fn words(input: &Input, script: Option<&Script>) -> Result<Vec<String>, StepError> {
    match (input.shell.as_ref().and(script), &input.argv) {
        (Some(script), None) => Ok(vec![
            "/bin/sh".to_owned(),
            "-c".to_owned(),
            script.text.clone(),
        ]),
        (None, Some(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => {
            Ok(argv.clone())
        }
        (None, Some(_)) => Err(StepError::fatal("`argv` names no program")),
        _ => Err(StepError::fatal("give one of `shell` and `argv`")),
    }
}

fn variable(name: &str) -> Result<&str, StepError> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(StepError::fatal(format!(
            "`{name}` is not a valid name of an environment variable"
        )));
    }
    Ok(name)
}

fn not_started(input: &Input, error: io::Error) -> StepError {
    let program = input
        .argv
        .as_ref()
        .and_then(|argv| argv.first())
        .map_or("/bin/sh", String::as_str);
    match error.kind() {
        io::ErrorKind::NotFound => {
            StepError::fatal(format!("there is no command `{program}` on this machine"))
        }
        // The system has no process left for this user.
        io::ErrorKind::WouldBlock => {
            StepError::shortage(format!("cannot start `{program}`: {error}"))
        }
        _ => StepError::caused_by(format!("cannot start `{program}`"), error),
    }
}

fn judge(ended: Ended, last_error: &str) -> Result<(), StepError> {
    if ended.cancelled {
        return Err("the command was stopped".into());
    }
    match (ended.status.success(), last_error) {
        (true, _) => Ok(()),
        (false, "") => Err(format!("the command failed ({})", ended.status).into()),
        (false, line) => Err(format!("the command failed ({}): {line}", ended.status).into()),
    }
}

/// Copies a command's output to the run's log, line by line, and keeps the last line of its
/// standard error.
struct Log<'a> {
    context: &'a StepContext,
    out: Lines,
    err: Lines,
    last_error: String,
    room: usize,
}

impl<'a> Log<'a> {
    fn new(context: &'a StepContext) -> Self {
        Self {
            context,
            out: Lines::default(),
            err: Lines::default(),
            last_error: String::new(),
            room: LARGEST_LOG,
        }
    }

    fn push(&mut self, stream: Stream, piece: &[u8]) {
        let Self {
            context,
            out,
            err,
            last_error,
            room,
        } = self;
        match stream {
            Stream::Out => out.push(piece, |line| log(context, room, line)),
            Stream::Err => err.push(piece, |line| {
                remember(last_error, &line);
                log(context, room, line);
            }),
        }
    }

    /// Flushes the unfinished lines of both outputs, and returns the last line of standard error.
    fn finish(mut self) -> String {
        if let Some(line) = self.out.finish() {
            log(self.context, &mut self.room, line);
        }
        if let Some(line) = self.err.finish() {
            remember(&mut self.last_error, &line);
            log(self.context, &mut self.room, line);
        }
        self.last_error
    }
}

fn remember(last_error: &mut String, line: &str) {
    if !line.trim().is_empty() {
        *last_error = line.trim().to_owned();
    }
}

fn log(context: &StepContext, room: &mut usize, line: String) {
    // A line costs more than its text.
    let size = line.len() + 64;
    if *room >= size {
        *room -= size;
        context.log(line);
    } else if *room > 0 {
        *room = 0;
        context.log("[the command wrote more than 4 MiB; the rest is not kept]");
    }
}

fn private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// The file in which a command may leave its output, in a separate directory outside the workspace.
struct OutputFile(TempDir);

impl OutputFile {
    /// In the directory `tmp` beside the workspaces, which is emptied when a worker starts: a
    /// killed worker cannot clean up.
    fn beside(workspace: &Path) -> Result<Self, StepError> {
        let parent = workspace.with_file_name("tmp");
        let made = private_folder(&parent).and_then(|()| {
            let only_ours = Permissions::from_mode(0o700);
            tempfile::Builder::new()
                .prefix("output-")
                .permissions(only_ours)
                .tempdir_in(&parent)
        });
        made.map(Self).map_err(|error| {
            StepError::caused_by("cannot make a folder for the command's output", error)
        })
    }

    fn path(&self) -> std::path::PathBuf {
        self.0.path().join("output.json")
    }

    /// Null if the command left none.
    fn read(&self) -> Result<Value, StepError> {
        let bytes = match files::read(&self.path(), Links::Refuse, LARGEST_OUTPUT) {
            Ok(bytes) => bytes,
            Err(error) if error.is_not_found() => return Ok(Value::Null),
            Err(FileError::Io(error)) => return Err(StepError::caused_by(UNUSABLE_OUTPUT, error)),
            Err(error) => return Err(StepError::fatal(format!("{UNUSABLE_OUTPUT}: {error}"))),
        };
        if bytes.trim_ascii().is_empty() {
            return Ok(Value::Null);
        }
        parse_output(&bytes)
    }
}

/// Reads what a command left as its output.
fn parse_output(bytes: &[u8]) -> Result<Value, StepError> {
    let no_json = |reason: &dyn std::fmt::Display| {
        StepError::fatal(format!(
            "what the command left in SUREFOOT_OUTPUT is not JSON: {reason}"
        ))
    };
    let text = std::str::from_utf8(bytes).map_err(|_| no_json(&"it is not UTF-8 text"))?;
    surefoot::from_json(text).map_err(|error| no_json(&error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_of_an_output_keep_their_digits() {
        let output = parse_output(b"{\"id\": 18446744073709551616, \"n\": 7}").unwrap();
        assert_eq!(output, json!({ "id": "18446744073709551616", "n": 7 }));
        assert!(parse_output(b"{\"a\": \"\xff\"}").is_err());
    }

    #[test]
    fn fuzzed_outputs_are_read_or_refused() {
        surefoot_fuzz::fuzz("outputs of commands", 1500, |random| {
            let text = surefoot_fuzz::Grammar { random }.json_text();
            let bytes = surefoot_fuzz::mutate(random, text.as_bytes(), &["{", "\"", "[", "\\"]);
            if let Ok(value) = parse_output(&bytes) {
                assert!(value.to_string().len() < 1 << 24);
            }
        });
    }
}
