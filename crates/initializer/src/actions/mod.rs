//! The actions for any workflow: one file each, and one table of them.

mod approval;
mod command;
pub(crate) mod fields;
mod file;
mod git;
mod http;
mod paths;
mod shell;
mod sleep;
mod template;

use std::future::Future;

use surefoot::{AddressPolicy, Handlers, StepContext, StepError};

/// Handlers of all actions that are not specific to a kind of project.
pub fn handlers() -> Handlers {
    handlers_within(&AddressPolicy::default())
}

/// The same handlers, without access to addresses that `addresses` denies.
pub fn handlers_within(addresses: &AddressPolicy) -> Handlers {
    Handlers::new()
        .with("command.run", command::CommandRun)
        .with("http.request", http::HttpRequest::new(addresses))
        .with("file.write", file::FileWrite)
        .with("template.render", template::TemplateRender)
        .with("git.clone", git::GitClone(addresses.clone()))
        .with("git.commit", git::GitCommit)
        .with("git.push", git::GitPush(addresses.clone()))
        .with("sleep", sleep::Sleep)
        .with("approval", approval::Approval)
}

/// Runs `work` unless the attempt is to end: nothing of a dropped future outlives it.
async fn unless_cancelled<T>(
    context: &StepContext,
    work: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    tokio::select! {
        result = work => result,
        () = context.cancellation().cancelled() => Err("the step was stopped".into()),
    }
}

/// Runs blocking file operations on a blocking thread.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StepError> + Send + 'static,
) -> Result<T, StepError> {
    surefoot::files::blocking(work)
        .await
        .map_err(StepError::from)?
}
