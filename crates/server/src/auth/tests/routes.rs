//! Requests every route as every kind of caller: each is served exactly to those with the declared
//! access.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, COOKIE, ORIGIN};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use surefoot::Timestamp;
use surefoot::document::{Document, DocumentFilter, Expect, NewDocument};
use tokio::time::Instant;

use super::{FORM, Server, location, options};
use crate::auth::{Access, Role, links, token};
use crate::http::routes::{Route, TABLE, is_for_programs};

/// A caller.
struct Caller {
    name: String,
    /// The role; `None` if the caller is not authenticated.
    role: Option<Role>,
    way: Way,
}

enum Way {
    Nothing,
    Token(String),
    Session { cookie: String, csrf: String },
}

/// The authorization result shown by a response.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Served,
    /// 401, or a redirect to the sign-in page.
    SignIn,
    /// 403.
    Role,
}

fn path(route: &Route) -> String {
    let id = "00000000-0000-7000-8000-000000000000";
    route
        .path
        .split('/')
        .map(|part| match part {
            "{id}" => id.to_owned(),
            // A valid link: an invalid one would be refused for every caller.
            "{link}" => links::sign(
                &options().auth.secret,
                id.parse().unwrap(),
                Timestamp::from_micros(i64::MAX),
            ),
            part if part.starts_with('{') => "unknown".to_owned(),
            part => part.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("/")
}

fn changes(route: &Route) -> bool {
    route.method != "GET"
}

fn named(route: &Route) -> String {
    format!("{} {}", route.method, route.path)
}

/// A request as the route's own pages and programs make it, not yet authenticated.
fn request(server: &Server, route: &Route) -> RequestBuilder {
    let method = Method::from_bytes(route.method.as_bytes()).unwrap();
    let request = server.ask(method, &path(route));
    match changes(route) {
        true if is_for_programs(route.path) => {
            request.header(CONTENT_TYPE, "application/json").body("{}")
        }
        true => request.header(CONTENT_TYPE, FORM),
        false => request,
    }
}

async fn ask(server: &Server, route: &Route, caller: &Caller) -> Response {
    let mut request = request(server, route);
    let mut cookies = Vec::new();
    if let Way::Token(token) = &caller.way {
        request = request.bearer_auth(token);
    }
    if let Way::Session { cookie, csrf } = &caller.way {
        cookies.push(cookie.clone());
        request = request.header("x-csrf-token", csrf);
    }
    if route.path == "/sign-in" && changes(route) && !matches!(caller.way, Way::Session { .. }) {
        let (cookie, csrf) = server.sign_in_form().await;
        cookies.push(cookie);
        request = request.header("x-csrf-token", csrf);
    }
    request
        .header(COOKIE, cookies.join("; "))
        .send()
        .await
        .unwrap()
}

fn declared(route: &Route, caller: &Caller) -> Verdict {
    match (route.access.role(), caller.role) {
        (None, _) => Verdict::Served,
        (Some(_), None) => Verdict::SignIn,
        (Some(need), Some(role)) if role < need => Verdict::Role,
        _ => Verdict::Served,
    }
}

fn verdict(route: &Route, response: &Response) -> Verdict {
    let page = !changes(route) && !is_for_programs(route.path);
    let sent = response.status() == StatusCode::SEE_OTHER
        && location(response).split('?').next() == Some("/sign-in");
    match response.status().as_u16() {
        401 => Verdict::SignIn,
        _ if page && sent && route.access != Access::Public => Verdict::SignIn,
        403 => Verdict::Role,
        _ => Verdict::Served,
    }
}

/// An unauthenticated caller, every role by token and by session, and callers with expired tokens
/// and ended sessions.
async fn callers(server: &Server, tokens: Vec<(Role, String)>) -> Vec<Caller> {
    let mut callers = vec![Caller {
        name: "unauthenticated".to_owned(),
        role: None,
        way: Way::Nothing,
    }];
    for (role, token) in tokens {
        callers.push(Caller {
            name: format!("{role} by session"),
            role: Some(role),
            way: session(server, &token).await,
        });
        callers.push(Caller {
            name: format!("{role} by token"),
            role: Some(role),
            way: Way::Token(token),
        });
    }
    for name in ["expired", "revoked"] {
        let made = token::create(server.store.as_ref(), name, Role::Admin, None, "test")
            .await
            .unwrap();
        let secret = made.secret.expose().to_owned();
        let way = session(server, &secret).await;
        match name {
            "expired" => expire(server, name).await,
            _ => drop(token::revoke(server.store.as_ref(), name).await.unwrap()),
        }
        wait_until_ended(server, &secret).await;
        callers.push(Caller {
            name: format!("{name} session"),
            role: None,
            way,
        });
        callers.push(Caller {
            name: format!("{name} token"),
            role: None,
            way: Way::Token(secret),
        });
    }
    callers
}

async fn session(server: &Server, token: &str) -> Way {
    let cookie = server.sign_in(token).await;
    let csrf = server.form_token(&cookie).await;
    Way::Session { cookie, csrf }
}

/// Expires the token of this name.
async fn expire(server: &Server, name: &str) {
    let filter = DocumentFilter {
        kind: "token".to_owned(),
        after: None,
        descending: false,
        limit: 100,
    };
    let tokens = server.store.documents(filter).await.unwrap();
    let Document {
        id, version, data, ..
    } = tokens
        .into_iter()
        .find(|token| token.data["name"] == name)
        .unwrap();
    let expires_at = Some(Timestamp::from_micros(server.store.now().as_micros() - 1));
    let expired = NewDocument {
        kind: "token".to_owned(),
        id,
        expires_at,
        data,
    };
    server
        .store
        .put_document(expired, Expect::Version(version))
        .await
        .unwrap()
        .expect("no other server wrote it");
}

async fn wait_until_ended(server: &Server, token: &str) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while server
        .ask(Method::GET, "/api/v1/me")
        .bearer_auth(token)
        .send()
        .await
        .unwrap()
        .status()
        != 401
    {
        assert!(Instant::now() < deadline, "a token does not end");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn every_route_is_served_exactly_to_its_declared_roles() {
    let (server, tokens) = Server::with_tokens().await;
    let callers = callers(&server, tokens).await;
    assert_eq!(callers.len(), 11);
    let mut wrong = Vec::new();
    for route in TABLE {
        // Ends the caller's session, so that later requests would not be authenticated. Covered by
        // `sessions.rs`.
        let ends = route.path == "/sign-out";
        for caller in callers
            .iter()
            .filter(|caller| !ends || !matches!(caller.way, Way::Session { .. }))
        {
            // A signed-in caller has another form token than the sign-in page. Covered by
            // `sessions.rs`.
            if route.path == "/sign-in"
                && changes(route)
                && matches!(caller.way, Way::Session { .. })
            {
                continue;
            }
            let response = ask(&server, route, caller).await;
            let status = response.status();
            let verdict = verdict(route, &response);
            if verdict != declared(route, caller) {
                wrong.push(format!("{} as {}: {status}", named(route), caller.name));
            }
            if status == 405 || status.is_server_error() {
                wrong.push(format!(
                    "{} as {}: broken: {status}",
                    named(route),
                    caller.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A form without its token, or a request from another site's page, changes nothing, whatever its
/// sender's role.
#[tokio::test]
async fn writes_are_accepted_only_from_own_pages() {
    let (server, tokens) = Server::with_tokens().await;
    let admin = &tokens
        .iter()
        .find(|(role, _)| *role == Role::Admin)
        .unwrap()
        .1;
    let mut walked = 0;
    for route in TABLE.iter().filter(|route| changes(route)) {
        let Way::Session { cookie, csrf } = session(&server, admin).await else {
            unreachable!()
        };
        let (cookie, csrf) = if route.path == "/sign-in" {
            server.sign_in_form().await
        } else {
            (cookie, csrf)
        };
        let signed = || request(&server, route).header(COOKIE, &cookie);
        let with_token = || signed().header("x-csrf-token", &csrf);
        for (what, request) in [
            ("no token", signed()),
            ("an empty token", signed().header("x-csrf-token", "")),
            (
                "another site",
                with_token().header(ORIGIN, "https://evil.example"),
            ),
            ("no site", with_token().header(ORIGIN, "null")),
            (
                "another port",
                with_token().header(ORIGIN, "http://127.0.0.1:1"),
            ),
            (
                "cross-site",
                with_token().header("sec-fetch-site", "cross-site"),
            ),
            (
                "same-site",
                with_token().header("sec-fetch-site", "same-site"),
            ),
            (
                "unauthenticated, from another site",
                request(&server, route).header(ORIGIN, "https://evil.example"),
            ),
        ] {
            let status = request.send().await.unwrap().status();
            let must_sign_in =
                what.starts_with("unauthenticated") && route.access != Access::Public;
            assert_eq!(
                status,
                if must_sign_in { 401 } else { 403 },
                "{}: {what}",
                named(route)
            );
        }
        let ours = with_token()
            .header(ORIGIN, server.url(""))
            .header("sec-fetch-site", "same-origin");
        let status = ours.send().await.unwrap().status();
        assert!(status != 401 && status != 403, "{}: {status}", named(route));
        walked += 1;
    }
    assert!(walked > 20, "{walked}");
}

/// While no sign-in is possible, another site's page cannot make use of the person at this machine.
#[tokio::test]
async fn an_open_server_is_not_open_to_other_sites() {
    let server = Server::open().await;
    for route in TABLE.iter().filter(|route| changes(route)) {
        let from = |origin: &str| request(&server, route).header(ORIGIN, origin).send();
        assert_eq!(
            from("https://evil.example").await.unwrap().status(),
            403,
            "{}",
            named(route)
        );
        let form = server
            .ask(Method::POST, &path(route))
            .header(CONTENT_TYPE, FORM);
        if route.method == "POST" {
            assert_eq!(
                form.send().await.unwrap().status(),
                403,
                "{}: a form without its token",
                named(route)
            );
        }
    }
}

/// Every `.route(...)` in the sources, as `METHOD path`.
fn routed() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().is_some_and(|name| name != "tests") {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs") {
                routes_of(&std::fs::read_to_string(&path).unwrap(), &mut found);
            }
        }
    }
    found
}

fn routes_of(source: &str, found: &mut BTreeSet<String>) {
    for call in source.split(".route(").skip(1) {
        let path = call
            .trim_start()
            .strip_prefix('"')
            .and_then(|rest| rest.split_once('"'));
        let (path, rest) =
            path.unwrap_or_else(|| panic!("a route whose path is no plain text: {call:.40}"));
        // A long call has its handlers on the line after the path.
        let rest = rest.strip_prefix(",\n").unwrap_or(rest);
        let handlers = rest.lines().next().unwrap();
        let methods =
            ["get", "post", "put", "patch", "delete"].map(|word| (word, format!("{word}(")));
        let before = found.len();
        for (word, _) in methods
            .iter()
            .filter(|(_, call)| handlers.contains(call.as_str()))
        {
            found.insert(format!("{} {path}", word.to_uppercase()));
        }
        assert!(
            found.len() > before,
            "{path}: no method is known, or the route is there twice"
        );
    }
}

#[tokio::test]
async fn the_table_the_routers_and_the_document_have_the_same_routes() {
    let table: BTreeSet<String> = TABLE.iter().map(named).collect();
    assert_eq!(table.len(), TABLE.len(), "a route is in the table twice");
    assert_eq!(table, routed());

    let server = Server::open().await;
    let document: Value = server.get("/api/openapi.json").await.json().await.unwrap();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let name = format!("{} {path}", method.to_uppercase());
            let route = TABLE
                .iter()
                .find(|route| named(route) == name)
                .unwrap_or_else(|| panic!("{name} is not served"));
            let role = route.access.role().map(Role::as_str);
            assert_eq!(operation["x-required-role"].as_str(), role, "{name}");
            documented.insert(name);
        }
    }
    let api = table
        .iter()
        .filter(|name| name.contains(" /api/v1/"))
        .cloned()
        .collect::<BTreeSet<_>>();
    assert_eq!(documented, api);
}

/// A route that was added to a router and not to the table.
#[tokio::test]
async fn a_route_missing_from_the_table_is_not_served() {
    use axum::routing::get;
    let (server, tokens) = Server::with_tokens().await;
    let auth = crate::auth::Auth::new(server.store.clone(), options().auth, server.address, None)
        .await
        .unwrap();
    let router = axum::Router::new()
        .route("/forgotten", get(async || "secret"))
        .route("/healthz", axum::routing::delete(async || "secret"))
        .layer(axum::middleware::from_fn_with_state(
            auth,
            crate::auth::guard,
        ));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(axum::serve(listener, router).into_future());
    let http = reqwest::Client::new();
    for (method, path, expect) in [
        (Method::GET, "/forgotten", 404),
        (Method::DELETE, "/healthz", 405),
    ] {
        let request = http
            .request(method, format!("http://{address}{path}"))
            .bearer_auth(&tokens[2].1);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), expect, "{path}");
        assert_ne!(response.text().await.unwrap(), "secret");
    }
}
