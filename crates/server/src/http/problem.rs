//! Problem details of RFC 9457: why a request was not served.
//!
//! Handlers return a [`Problem`]. Its form, a document for programs or a page for people, is chosen
//! by `error_body`, which sees the request.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use surefoot::{NotPermitted, Refused, RunId, StoreError, SubmitError};

use crate::alerts::AcknowledgeError;
use crate::auth::Refusal;
use crate::submission::NotSubmitted;

/// The reason why a request was not served. Its fields are boxed to keep the error that every
/// handler may return small.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    /// The kind of problem, as programs identify it.
    kind: &'static str,
    detail: Box<str>,
    /// The invalid parameter.
    parameter: Option<String>,
    /// Each invalid parameter, if there are several.
    faults: Box<[(String, String)]>,
    /// The conflicting run.
    run: Option<RunId>,
    /// The allow-list that refuses the request, and what it refuses.
    not_permitted: Option<Box<NotPermitted>>,
    headers: Box<HeaderMap>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        let detail = detail.into().into();
        let headers = Box::default();
        Self {
            status,
            kind,
            detail,
            parameter: None,
            faults: Box::default(),
            run: None,
            not_permitted: None,
            headers,
        }
    }

    /// A problem that its status describes fully.
    pub(crate) fn of(status: StatusCode, detail: impl Into<String>) -> Self {
        let kind = match status {
            StatusCode::BAD_REQUEST => "bad-request",
            StatusCode::UNAUTHORIZED => "sign-in",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not-found",
            StatusCode::METHOD_NOT_ALLOWED => "method-not-allowed",
            StatusCode::REQUEST_TIMEOUT => "timeout",
            StatusCode::CONFLICT => "conflict",
            StatusCode::PAYLOAD_TOO_LARGE => "too-large",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "media-type",
            StatusCode::TOO_MANY_REQUESTS => "too-many-requests",
            StatusCode::SERVICE_UNAVAILABLE => "unavailable",
            status if status.is_server_error() => "internal",
            _ => "refused",
        };
        Self::new(status, kind, detail)
    }

    /// A parameter that cannot be read.
    pub(crate) fn invalid(parameter: impl Into<String>, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::BAD_REQUEST, "invalid-parameter", detail);
        Self {
            parameter: Some(parameter.into()),
            ..problem
        }
    }

    /// A parameter that can be read and has an invalid value.
    pub(crate) fn unprocessable(parameter: impl Into<String>, detail: impl Into<String>) -> Self {
        let problem = Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid-parameter",
            detail,
        );
        Self {
            parameter: Some(parameter.into()),
            ..problem
        }
    }

    pub(crate) fn not_found(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::NOT_FOUND, detail)
    }

    pub(crate) fn forbidden(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::FORBIDDEN, detail)
    }

    pub(crate) fn conflict(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::CONFLICT, detail)
    }

    /// An internal error.
    pub(crate) fn internal(detail: impl Into<String>) -> Self {
        Self::of(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The heading.
    pub(crate) fn title(&self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The JSON document.
    pub(crate) fn json(&self) -> Value {
        let mut document = json!({
            "type": format!("urn:surefoot:problem:{}", self.kind),
            "title": self.title(),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(parameter) = &self.parameter {
            document["parameter"] = parameter.as_str().into();
        }
        if !self.faults.is_empty() {
            let fault = |(parameter, detail): &(String, String)| json!({ "parameter": parameter, "detail": detail });
            document["errors"] = self.faults.iter().map(fault).collect();
        }
        if let Some(run) = self.run {
            document["run"] = run.to_string().into();
        }
        if let Some(refusal) = &self.not_permitted {
            let (workflow, actions) = match &refusal.refused {
                Refused::Workflow(name) => (Some(name), &[][..]),
                Refused::Actions(names) => (None, names.as_slice()),
            };
            document["not_permitted"] = json!({
                "list": refusal.owner.to_string(),
                "workflow": workflow,
                "actions": actions,
                "permitted": refusal.permitted,
            });
        }
        document
    }

    fn header(mut self, name: axum::http::HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, HeaderMap::clone(&self.headers)).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::NoRun(_) => Self::not_found(text),
            StoreError::NotPermitted(refusal) => Self {
                not_permitted: Some(refusal),
                ..Self::new(StatusCode::FORBIDDEN, "not-permitted", text)
            },
            StoreError::Rule(_)
            | StoreError::Unreadable { .. }
            | StoreError::RecordTaken { .. }
            | StoreError::LeaseLost => Self::conflict(text),
            StoreError::Unavailable(_) | StoreError::InUse(_) => {
                tracing::warn!(error = text, "the store does not answer");
                let detail = format!("the store cannot be reached for now: {text}");
                Self::of(StatusCode::SERVICE_UNAVAILABLE, detail).header(RETRY_AFTER, "1")
            }
            StoreError::Unusable(_) | StoreError::Fault(_) => {
                tracing::error!(
                    error = text,
                    "a request failed because of a fault of the store"
                );
                Self::internal("the store could not answer; the server's log says why")
            }
        }
    }
}

impl From<SubmitError> for Problem {
    fn from(error: SubmitError) -> Self {
        let text = error.to_string();
        match error {
            SubmitError::Store(error) => error.into(),
            SubmitError::Parameters(errors) => {
                let fault =
                    |error: surefoot::workflow::ParameterError| (error.parameter, error.message);
                let faults: Box<[_]> = errors.into_iter().map(fault).collect();
                let parameter = faults.first().map(|(parameter, _)| parameter.clone());
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self {
                    parameter,
                    faults,
                    ..Self::new(status, "parameters", text)
                }
            }
            SubmitError::Expression(_) | SubmitError::Requires(_) | SubmitError::Secret { .. } => {
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, "parameters", text)
            }
            SubmitError::Sealing(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text)
            }
            SubmitError::KeyConflict { run, .. } => {
                let parameter = Some("key".to_owned());
                Self {
                    parameter,
                    run: Some(run.id),
                    ..Self::new(StatusCode::CONFLICT, "key-conflict", text)
                }
            }
            SubmitError::Taken { run, .. } => Self {
                run: Some(run.id),
                ..Self::new(StatusCode::CONFLICT, "taken", text)
            },
        }
    }
}

impl From<NotSubmitted> for Problem {
    fn from(error: NotSubmitted) -> Self {
        match error {
            NotSubmitted::Refused(refused) => SubmitError::from(refused).into(),
            NotSubmitted::Submit(error) => error.into(),
        }
    }
}

impl From<AcknowledgeError> for Problem {
    fn from(error: AcknowledgeError) -> Self {
        let text = error.to_string();
        match error {
            AcknowledgeError::Unknown(_) => Self::not_found(text),
            AcknowledgeError::Resolved(_) => Self::conflict(text),
            AcknowledgeError::Store(error) => error.into(),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = refusal.status();
        let headers = Box::new(refusal.headers());
        let text = refusal.to_string();
        match refusal {
            Refusal::Store(error) => error.into(),
            _ => Self {
                headers,
                ..Self::of(status, text)
            },
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}
