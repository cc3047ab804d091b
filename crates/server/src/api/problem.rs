//! The schema of a problem document. The documents are written by `http/problem.rs`.

use utoipa::ToSchema;

/// The reason why a request was not served (RFC 9457).
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "a schema: documents are written by the server's `Problem`"
)]
pub(crate) struct ProblemDocument {
    /// The kind of problem.
    #[schema(example = "urn:surefoot:problem:invalid-parameter")]
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// The invalid parameter, or the first of several.
    parameter: Option<String>,
    /// Each invalid parameter.
    errors: Option<Vec<ParameterFault>>,
    /// The conflicting run.
    run: Option<String>,
    /// The allow-list that refuses the request, and what it refuses.
    not_permitted: Option<NotPermitted>,
}

/// The refusal of an allow-list.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a schema")]
pub(crate) struct NotPermitted {
    /// The owner of the list.
    #[schema(example = "token `ci`")]
    list: String,
    /// The workflow, when it is what is refused.
    workflow: Option<String>,
    /// The actions that are refused.
    actions: Vec<String>,
    /// The entries of the list.
    permitted: Vec<String>,
}

/// An invalid parameter.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a schema")]
pub(crate) struct ParameterFault {
    parameter: String,
    detail: String,
}
