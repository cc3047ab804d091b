//! The schema of a problem document. What makes one is `http/problem.rs`.

use utoipa::ToSchema;

/// Why a request was not served: RFC 9457.
#[derive(Debug, ToSchema)]
#[expect(
    dead_code,
    reason = "a schema: documents are written by the server's `Problem`"
)]
pub(crate) struct ProblemDocument {
    /// Names the kind of problem.
    #[schema(example = "urn:surefoot:problem:invalid-parameter")]
    r#type: String,
    title: String,
    status: u16,
    detail: String,
    /// The parameter at fault, the first of them when there are several.
    parameter: Option<String>,
    /// Each parameter at fault.
    errors: Option<Vec<ParameterFault>>,
    /// The run that stands in the way.
    run: Option<String>,
    /// The allow-list that refuses the request, and what it refuses.
    not_permitted: Option<NotPermitted>,
}

/// What an allow-list refuses.
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

/// A parameter at fault.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a schema")]
pub(crate) struct ParameterFault {
    parameter: String,
    detail: String,
}
