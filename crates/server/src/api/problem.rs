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
}

/// A parameter at fault.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "a schema")]
pub(crate) struct ParameterFault {
    parameter: String,
    detail: String,
}
