//! The table of routes with the access that each requires. Routes missing here are not served.

use axum::http::Method;

use crate::auth::Access;

/// An entry of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
}

/// The result of looking up a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RouteMatch {
    /// The route exists and requires this access.
    Found(Access),
    /// The path exists for other methods; holds the value of `Allow`.
    OtherMethods(String),
    /// The path does not exist.
    NotFound,
}

const fn get(path: &'static str, access: Access) -> Route {
    Route {
        method: "GET",
        path,
        access,
    }
}

const fn post(path: &'static str, access: Access) -> Route {
    Route {
        method: "POST",
        path,
        access,
    }
}

use Access::{Admin, Operator, Public, Viewer};

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
        access: Admin,
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

/// Looks up the route of a request. `path` is the path pattern as registered in the router.
pub(crate) fn find(method: &Method, path: &str) -> RouteMatch {
    // HEAD requires the same access as GET.
    let method = if *method == Method::HEAD {
        "GET"
    } else {
        method.as_str()
    };
    let same_path = || TABLE.iter().filter(|route| route.path == path);
    if let Some(route) = same_path().find(|route| route.method == method) {
        return RouteMatch::Found(route.access);
    }
    let others = same_path()
        .map(|route| route.method)
        .collect::<Vec<_>>()
        .join(", ");
    if others.is_empty() {
        RouteMatch::NotFound
    } else {
        RouteMatch::OtherMethods(others)
    }
}

/// Returns true if the path serves programs; its errors are JSON documents.
pub(crate) fn is_for_programs(path: &str) -> bool {
    let is_under = |prefix: &str| {
        path == prefix
            || path
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with('/'))
    };
    is_under("/api")
        || ["/healthz", "/readyz", "/metrics", "/live"].contains(&path)
        || path.ends_with("/progress")
}
