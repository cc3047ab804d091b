//! The OpenAPI 3.1 document, generated from the handlers.

use std::sync::OnceLock;

use axum::Json;
use axum::http::Method;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use crate::http::routes::{self, RouteMatch};

use super::{alerts, events, people, problem, queues, records, runs, workers, workflows};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Surefoot",
        description = "Durable runs of workflows whose steps are declared up front. Errors are RFC 9457 problem documents.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        workflows::list, workflows::show, workflows::schema, workflows::dry_run,
        runs::list, runs::submit, runs::show, runs::history, runs::logs, runs::watch,
        runs::retry, runs::cancel, runs::answer, runs::link, runs::bulk_preview, runs::bulk,
        events::watch,
        queues::list, queues::show, queues::change, queues::pause, queues::resume,
        workers::list, alerts::list, alerts::acknowledge, records::list, people::me, people::log
    ),
    components(schemas(problem::ProblemDocument, runs::Order)),
    tags(
        (name = "workflows", description = "The workflows that can be submitted, and dry runs"),
        (name = "runs", description = "Submission, listings, live events, actions"),
        (name = "queues", description = "Limits, pause, resume"),
        (name = "workers", description = "Live workers"),
        (name = "alerts", description = "Facts that need a person's attention"),
        (name = "records", description = "Projects, repositories, environments"),
        (name = "people", description = "The caller, and the audit log")
    )
)]
struct Document;

/// The document; constant for the life of the process.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(generate)
}

fn generate() -> Value {
    let mut document = Document::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("surefoot token create"))
        .build();
    components.add_security_scheme("token", SecurityScheme::Http(bearer));
    document.security = Some(vec![SecurityRequirement::new(
        "token",
        Vec::<String>::new(),
    )]);
    let mut document = serde_json::to_value(document).unwrap_or_default();
    unsigned_maxima(&mut document);
    each_operation(&mut document, |method, path, operation| {
        if let RouteMatch::Found(access) = routes::find(method, path) {
            operation["x-required-role"] = access
                .role()
                .map_or(Value::Null, |role| role.as_str().into());
        }
        for parameter in operation
            .get_mut("parameters")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            without_null(&mut parameter["schema"]);
        }
        operation["responses"]["default"] = json!({
            "description": "A problem",
            "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/ProblemDocument" } } },
        });
    });
    document
}

/// Replaces the format of unsigned numbers by a maximum: the formats `int32` and `int64` cover only
/// half of their range.
fn unsigned_maxima(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => {
            for schema in schemas {
                unsigned_maxima(schema);
            }
        }
        Value::Object(fields) => {
            let maximum = match fields.get("format").and_then(Value::as_str) {
                Some("int32") => Some(json!(u32::MAX)),
                Some("int64") => Some(json!(u64::MAX)),
                _ => None,
            };
            let is_unsigned = fields
                .get("minimum")
                .is_some_and(|minimum| minimum.as_f64() >= Some(0.0));
            if is_unsigned && let Some(maximum) = maximum {
                fields.remove("format");
                fields.entry("maximum").or_insert(maximum);
            }
            for field in fields.values_mut() {
                unsigned_maxima(field);
            }
        }
        _ => {}
    }
}

/// Removes `null` from the type of an optional query parameter: it can be absent, but never null.
fn without_null(schema: &mut Value) {
    let is_null = |kind: &Value| *kind == "null" || kind["type"] == "null";
    for name in ["type", "oneOf"] {
        if let Some(kinds) = schema.get_mut(name).and_then(Value::as_array_mut) {
            kinds.retain(|kind| !is_null(kind));
        }
    }
    let only = |name: &str| {
        schema[name]
            .as_array()
            .filter(|kinds| kinds.len() == 1)
            .map(|kinds| kinds[0].clone())
    };
    match (only("type"), only("oneOf")) {
        (Some(kind), _) => schema["type"] = kind,
        (None, Some(kind)) => *schema = kind,
        (None, None) => {}
    }
}

fn each_operation(document: &mut Value, change: impl Fn(&Method, &str, &mut Value)) {
    for (path, operations) in document["paths"].as_object_mut().into_iter().flatten() {
        for (method, operation) in operations.as_object_mut().into_iter().flatten() {
            let method = Method::from_bytes(method.to_uppercase().as_bytes());
            if let Ok(method) = method
                && operation.get("responses").is_some()
            {
                change(&method, path, operation);
            }
        }
    }
}

pub(super) async fn json() -> Json<&'static Value> {
    Json(document())
}
