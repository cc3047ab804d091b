//! A check of submissions, supplied by the program that starts the server: whether the things named
//! by the parameters exist and can be used. The schema of a workflow cannot express that.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use surefoot::workflow::ParameterError;
use surefoot::{SubmitError, Workflow};

/// A parameter that fits the workflow's schema and cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The parameter.
    pub parameter: String,
    /// The reason as a sentence in English, which says what to do.
    pub message: String,
    /// The kind of reason, by which pages word it in other languages.
    pub kind: RefusedKind,
}

/// Kind of reason for which a parameter cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusedKind {
    /// The template is another tool's.
    ForeignTemplate {
        /// The tool.
        tool: String,
        /// The file by which it is recognised.
        file: String,
    },
    /// The template cannot be used for another reason.
    Template,
    /// The template does not take these values.
    Values,
    /// Anything else.
    Other,
}

type Checking = Pin<Box<dyn Future<Output = Result<(), Refused>> + Send>>;

/// Checks the parameters of a submission, with defaults filled in, before anything is written.
#[derive(Clone)]
pub struct SubmissionCheck(Arc<dyn Fn(Arc<Workflow>, Value) -> Checking + Send + Sync>);

impl SubmissionCheck {
    /// Wraps a function. Requests wait for it, so it must end well within
    /// [`crate::RequestLimits::time`].
    pub fn new<F, R>(check: F) -> Self
    where
        F: Fn(Arc<Workflow>, Value) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Refused>> + Send + 'static,
    {
        Self(Arc::new(move |workflow, parameters| {
            Box::pin(check(workflow, parameters))
        }))
    }

    pub(crate) async fn check(
        &self,
        workflow: &Arc<Workflow>,
        parameters: Value,
    ) -> Result<(), Refused> {
        (self.0)(workflow.clone(), parameters).await
    }
}

impl fmt::Debug for SubmissionCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SubmissionCheck")
    }
}

/// Why a run was not submitted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotSubmitted {
    /// The check of the program that started the server refused a parameter.
    #[error("{}: {}", .0.parameter, .0.message)]
    Refused(Refused),
    /// The engine refused it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl From<Refused> for SubmitError {
    fn from(refused: Refused) -> Self {
        Self::Parameters(vec![ParameterError {
            parameter: refused.parameter,
            message: refused.message,
        }])
    }
}
