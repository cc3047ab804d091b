//! Every route with every role, by the table that the server itself goes by.

use axum::http::StatusCode;
use reqwest::{Method, Response};

use super::{FORM, Server, location};
use crate::auth::{Need, Role};
use crate::http::routes::{Route, TABLE, is_for_programs};

fn path(route: &Route) -> String {
    let id = "00000000-0000-7000-8000-000000000000";
    route
        .path
        .split('/')
        .map(|part| match part {
            "{id}" => id,
            part if part.starts_with('{') => "nobody",
            part => part,
        })
        .collect::<Vec<_>>()
        .join("/")
}

async fn ask(server: &Server, route: &Route, token: Option<&str>) -> Response {
    let method = Method::from_bytes(route.method.as_bytes()).unwrap();
    let mut request = server.ask(method, &path(route));
    if route.method != "GET" {
        let json = is_for_programs(route.path);
        request = request.header("content-type", if json { "application/json" } else { FORM });
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    request.send().await.unwrap()
}

#[tokio::test]
async fn nobody_gets_more_than_their_role_allows() {
    let (server, tokens) = Server::with_tokens().await;
    assert!(TABLE.len() > 30);
    for route in TABLE {
        let name = format!("{} {}", route.method, route.path);
        let nobody = ask(&server, route, None).await;
        let sent = nobody.status() == 303 && location(&nobody).split('?').next() == Some("/sign-in");
        let signs_out = route.path == "/sign-out" || route.path.starts_with("/sign-in");
        match (route.need, route.method == "GET" && !is_for_programs(route.path)) {
            (Need::Public, _) => assert!(nobody.status() != 401 && (signs_out || !sent), "{name}: {}", nobody.status()),
            (_, true) => assert!(sent, "{name}: {}", nobody.status()),
            (_, false) => assert_eq!(nobody.status(), 401, "{name}"),
        }
        for (role, token) in &tokens {
            let status = ask(&server, route, Some(token)).await.status();
            if route.need == Need::Public {
                // A widget's link that is not ours is refused to all alike: a role makes no difference.
                assert_eq!(status, nobody.status(), "{name} as {role}");
            } else if route.need.role().is_none_or(|need| *role >= need) {
                assert!(status != 401 && status != 403, "{name} as {role}: {status}");
                assert!(status != 405 && status != 501 && !status.is_server_error(), "{name} as {role}: {status}");
            } else {
                assert_eq!(status, 403, "{name} as {role}");
            }
        }
    }
}

#[tokio::test]
async fn every_line_of_the_table_is_served() {
    let (server, tokens) = Server::with_tokens().await;
    let admin = tokens.iter().find(|(role, _)| *role == Role::Admin).map(|(_, token)| token.as_str());
    for route in TABLE {
        let response = ask(&server, route, admin).await;
        if response.status() == StatusCode::NOT_FOUND {
            let said = response.text().await.unwrap();
            assert!(
                !said.contains("nothing at this address"),
                "{} {}: there is no such route",
                route.method,
                route.path
            );
        }
    }
}

/// A route that was added to a router and not to the table.
#[tokio::test]
async fn what_is_not_in_the_table_is_not_served() {
    use axum::routing::get;
    let (server, tokens) = Server::with_tokens().await;
    let auth = crate::auth::Auth::new(server.store.clone(), super::options().auth, server.address, None).await.unwrap();
    let router = axum::Router::new()
        .route("/forgotten", get(async || "secret"))
        .route("/healthz", axum::routing::delete(async || "secret"))
        .layer(axum::middleware::from_fn_with_state(auth, crate::auth::guard));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(axum::serve(listener, router).into_future());
    let http = reqwest::Client::new();
    for (method, path, expect) in [(Method::GET, "/forgotten", 404), (Method::DELETE, "/healthz", 405)] {
        let request = http.request(method, format!("http://{address}{path}")).bearer_auth(&tokens[2].1);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), expect, "{path}");
        assert_ne!(response.text().await.unwrap(), "secret");
    }
}
