//! Notification by a program on this machine. The embedding program supplies the function that runs
//! it, since it can guarantee that no process is left behind.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use surefoot::BoxError;
use tokio_util::sync::CancellationToken;

use super::message::Message;
use super::{Command, Tools};

/// A program to run.
#[derive(Clone, Debug)]
pub struct CommandCall {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Environment variables to set.
    pub environment: Vec<(String, String)>,
    /// The data for its standard input.
    pub input: Vec<u8>,
    /// Cancelled when the program must end.
    pub cancellation: CancellationToken,
}

type Running = Pin<Box<dyn Future<Output = Result<String, BoxError>> + Send>>;

/// Runs a program to its end. `Ok` holds the end of its output if it succeeded.
#[derive(Clone)]
pub struct RunCommand(Arc<dyn Fn(CommandCall) -> Running + Send + Sync>);

impl RunCommand {
    /// Wraps a function.
    pub fn new<F, R>(run: F) -> Self
    where
        F: Fn(CommandCall) -> R + Send + Sync + 'static,
        R: Future<Output = Result<String, BoxError>> + Send + 'static,
    {
        Self(Arc::new(move |call| Box::pin(run(call))))
    }
}

impl fmt::Debug for RunCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RunCommand")
    }
}

pub(super) async fn run(
    command: &Command,
    message: &Message,
    tools: &Tools<'_>,
) -> Result<String, BoxError> {
    let run = tools
        .run_command
        .ok_or("this program cannot run commands")?;
    let call = CommandCall {
        command: command.command.clone(),
        environment: environment(message),
        input: format!("{}\n", message.json()).into_bytes(),
        cancellation: tools.cancellation.clone(),
    };
    (run.0)(call).await
}

fn environment(message: &Message) -> Vec<(String, String)> {
    let pairs = [
        ("STATE", Some(message.state.as_str())),
        ("RULE", Some(message.rule.as_str())),
        ("SUBJECT", Some(message.subject.as_str())),
        ("TITLE", Some(message.title.as_str())),
        ("TEXT", Some(message.text.as_str())),
        ("RUN", message.run.as_deref()),
        ("QUEUE", message.queue.as_deref()),
        ("URL", message.url.as_deref()),
    ];
    // An environment variable cannot contain a NUL.
    let clean = |text: &str| text.replace('\0', "");
    pairs
        .into_iter()
        .filter_map(|(name, text)| Some((format!("SUREFOOT_ALERT_{name}"), clean(text?))))
        .collect()
}
