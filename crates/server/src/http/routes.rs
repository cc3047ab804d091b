//! The table of routes: what each needs of whoever asks. What is not in it is not served.

use axum::http::Method;

use crate::auth::Need;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) need: Need,
}

/// What the table says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Served {
    /// It is served to whoever has this.
    Needs(Need),
    /// The path is there for other methods: the value of `Allow`.
    OtherMethods(String),
    /// There is no such path.
    Not,
}

const fn get(path: &'static str, need: Need) -> Route {
    Route {
        method: "GET",
        path,
        need,
    }
}

const fn post(path: &'static str, need: Need) -> Route {
    Route {
        method: "POST",
        path,
        need,
    }
}

use Need::{Admin, Operator, Public, Viewer};

/// Every route.
pub(crate) const TABLE: &[Route] = &[
    // Probes.
    get("/healthz", Public),
    get("/readyz", Public),
    // Signing in.
    get("/sign-in", Public),
    post("/sign-in", Public),
    get("/sign-in/oidc", Public),
    get("/sign-in/oidc/callback", Public),
    post("/sign-out", Public),
    // The dashboard.
    get("/", Viewer),
    get("/live", Viewer),
    get("/runs", Viewer),
    post("/runs/bulk", Operator),
    post("/runs/bulk/apply", Operator),
    get("/runs/{id}", Viewer),
    get("/runs/{id}/log", Viewer),
    post("/runs/{id}/retry", Operator),
    post("/runs/{id}/cancel", Operator),
    post("/runs/{id}/answer", Operator),
    post("/runs/{id}/link", Operator),
    get("/new", Operator),
    post("/new", Operator),
    get("/projects", Viewer),
    get("/queues", Viewer),
    post("/queues/{name}/pause", Operator),
    post("/queues/{name}/resume", Operator),
    post("/queues/{name}/limits", Admin),
    get("/workers", Viewer),
    get("/alerts", Viewer),
    post("/alerts/acknowledge", Operator),
    get("/audit", Admin),
    get("/settings", Viewer),
    post("/preferences", Public),
    get("/widget/{link}", Public),
    get("/widget/{link}/progress", Public),
    get("/assets/{name}", Public),
    // The API.
    get("/metrics", Viewer),
    get("/api/openapi.json", Public),
    get("/api/docs", Public),
    get("/api/v1/workflows", Viewer),
    get("/api/v1/workflows/{name}", Viewer),
    get("/api/v1/workflows/{name}/schema", Viewer),
    post("/api/v1/workflows/{name}/dry-run", Operator),
    get("/api/v1/runs", Viewer),
    post("/api/v1/runs", Operator),
    post("/api/v1/runs/bulk/preview", Operator),
    post("/api/v1/runs/bulk", Operator),
    get("/api/v1/runs/{id}", Viewer),
    get("/api/v1/runs/{id}/history", Viewer),
    get("/api/v1/runs/{id}/logs", Viewer),
    get("/api/v1/runs/{id}/events", Viewer),
    post("/api/v1/runs/{id}/retry", Operator),
    post("/api/v1/runs/{id}/cancel", Operator),
    post("/api/v1/runs/{id}/answer", Operator),
    post("/api/v1/runs/{id}/link", Operator),
    get("/api/v1/events", Viewer),
    get("/api/v1/queues", Viewer),
    get("/api/v1/queues/{name}", Viewer),
    Route {
        method: "PATCH",
        path: "/api/v1/queues/{name}",
        need: Admin,
    },
    post("/api/v1/queues/{name}/pause", Operator),
    post("/api/v1/queues/{name}/resume", Operator),
    get("/api/v1/workers", Viewer),
    get("/api/v1/alerts", Viewer),
    post("/api/v1/alerts/acknowledge", Operator),
    get("/api/v1/records", Viewer),
    get("/api/v1/me", Viewer),
    get("/api/v1/audit", Admin),
];

/// What the table says of a request for a route's path, as the router has it.
pub(crate) fn served(method: &Method, path: &str) -> Served {
    // Whoever may GET may HEAD.
    let method = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let there = || TABLE.iter().filter(|route| route.path == path);
    if let Some(route) = there().find(|route| route.method == method) {
        return Served::Needs(route.need);
    }
    let others = there()
        .map(|route| route.method)
        .collect::<Vec<_>>()
        .join(", ");
    if others.is_empty() {
        Served::Not
    } else {
        Served::OtherMethods(others)
    }
}

/// Whether programs and not people ask for what is there: they are answered by JSON.
pub(crate) fn is_for_programs(path: &str) -> bool {
    let whole = |prefix: &str| {
        path == prefix
            || path
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    whole("/api")
        || ["/healthz", "/readyz", "/metrics", "/live"].contains(&path)
        || path.ends_with("/progress")
}
