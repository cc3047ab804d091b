//! The OpenAPI 3.1 document, made from the handlers.

use std::sync::OnceLock;

use axum::Json;
use axum::http::Method;
use serde_json::{Value, json};
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};

use crate::http::routes::{self, Served};

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
        (name = "workflows", description = "What can be submitted, and what it would do"),
        (name = "runs", description = "Submitted, listed, watched, acted on"),
        (name = "queues", description = "Limits, pause, resume"),
        (name = "workers", description = "Who is alive"),
        (name = "alerts", description = "What needs a person's attention"),
        (name = "records", description = "Projects, repositories, environments"),
        (name = "people", description = "Who asks, and what was done")
    )
)]
struct Document;

/// The document, which is the same for as long as the process lives.
pub(super) fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(make)
}

fn make() -> Value {
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
    unsigned(&mut document);
    each_operation(&mut document, |method, path, operation| {
        if let Served::Needs(need) = routes::served(method, path) {
            operation["x-required-role"] =
                need.role().map_or(Value::Null, |role| role.as_str().into());
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

/// Says of a number without a sign how large it may be: the formats that there are end half-way.
fn unsigned(schema: &mut Value) {
    match schema {
        Value::Array(schemas) => schemas.iter_mut().for_each(unsigned),
        Value::Object(fields) => {
            let most = match fields.get("format").and_then(Value::as_str) {
                Some("int32") => Some(json!(u32::MAX)),
                Some("int64") => Some(json!(u64::MAX)),
                _ => None,
            };
            if let Some(most) = most.filter(|_| {
                fields
                    .get("minimum")
                    .is_some_and(|least| least.as_f64() >= Some(0.0))
            }) {
                fields.remove("format");
                fields.entry("maximum").or_insert(most);
            }
            fields.values_mut().for_each(unsigned);
        }
        _ => {}
    }
}

/// What may be left out of an address is no null there.
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
            if let Some(method) = method.ok().filter(|_| operation.get("responses").is_some()) {
                change(&method, path, operation);
            }
        }
    }
}

pub(super) async fn json() -> Json<&'static Value> {
    Json(document())
}
