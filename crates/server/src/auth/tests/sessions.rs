//! Sign-in and sign-out, forms, requests from other sites, and servers without sign-in.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{COOKIE, HOST, ORIGIN, RETRY_AFTER, SET_COOKIE};
use reqwest::{Method, Response};
use surefoot_sqlite::SqliteStore;
use surefoot_store_tests::FaultyStore;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{FORM, Server, cookie_of, location, options, until_refused};
use crate::audit::{self, Outcome};
use crate::auth::{AuthError, Role, SecretError, ServerSecret, SignInLimits, token};
use crate::{ServeError, ServerOptions};

async fn admin(server: &Server) -> String {
    let made = token::create(server.store.as_ref(), "ann", Role::Admin, None, "test")
        .await
        .unwrap();
    made.secret.expose().to_owned()
}

async fn tokens() -> (Server, String) {
    let server = Server::start(options(), &[Role::Admin]).await;
    let token = admin(&server).await;
    (server, token)
}

#[tokio::test]
async fn a_person_signs_in_acts_and_signs_out() {
    let (server, token) = tokens().await;
    assert_eq!(
        location(&server.get("/runs?status=failed").await),
        "/sign-in?next=%2Fruns%3Fstatus%3Dfailed"
    );
    let cookie = server.sign_in(&token).await;
    let csrf = server.form_token(&cookie).await;
    assert!(
        server
            .pause(&cookie, &csrf)
            .send()
            .await
            .unwrap()
            .status()
            .is_redirection()
    );
    assert!(server.paused().await);
    let out = server
        .ask(Method::POST, "/sign-out")
        .header(COOKIE, &cookie)
        .header("content-type", FORM);
    let out = out.body(format!("csrf={csrf}")).send().await.unwrap();
    assert_eq!(location(&out), "/sign-in");
    let again = server
        .ask(Method::GET, "/runs")
        .header(COOKIE, &cookie)
        .send()
        .await
        .unwrap();
    assert_eq!(location(&again), "/sign-in?next=%2Fruns");
    let log = audit::list(server.store.as_ref(), None, 10).await.unwrap();
    let said: Vec<_> = log
        .iter()
        .rev()
        .map(|entry| (entry.actor.as_str(), entry.action.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("ann", "session.begin"),
            ("ann", "queue.pause"),
            ("ann", "session.end")
        ]
    );
    assert!(log.iter().all(|entry| entry.outcome == Outcome::Done));
}

/// A server without sign-in, and a run that was submitted to it.
async fn with_a_run() -> (Server, serde_json::Value) {
    let workflow = surefoot::Workflow::builder("w")
        .step("only", "work")
        .build()
        .unwrap();
    let workflows = crate::Workflows::new(vec![Arc::new(workflow)]);
    let server = Server::start(
        ServerOptions {
            workflows,
            ..options()
        },
        &[],
    )
    .await;
    let body = serde_json::json!({ "workflow": "w", "key": "k" });
    let run = server
        .ask(Method::POST, "/api/v1/runs")
        .json(&body)
        .send()
        .await
        .unwrap();
    let run = run.json().await.unwrap();
    (server, run)
}

#[tokio::test]
async fn a_link_of_the_api_and_of_the_dashboard_have_the_same_audit_entry() {
    let (server, run) = with_a_run().await;
    let run = run["id"].as_str().unwrap();
    let made = server
        .ask(Method::POST, &format!("/api/v1/runs/{run}/link"))
        .json(&serde_json::json!({ "seconds": 3600 }))
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 201);
    let link: serde_json::Value = made.json().await.unwrap();
    let csrf = server.form_token("").await;
    let form = server
        .ask(Method::POST, &format!("/runs/{run}/link"))
        .header("content-type", FORM)
        .body(format!("hours=2&csrf={csrf}"));
    let shown = form.send().await.unwrap();
    assert!(location(&shown).contains("?link="));
    let log = audit::list(server.store.as_ref(), None, 2).await.unwrap();
    let expires_at = link["expires_at"].clone();
    assert_eq!(
        log[1].detail,
        serde_json::json!({ "expires_at": expires_at })
    );
    for entry in log {
        assert_eq!(
            (entry.action.as_str(), entry.subject.as_str()),
            ("run.link", run)
        );
        let expires_at = entry.detail["expires_at"].as_str();
        assert!(
            expires_at.is_some_and(|time| time.parse::<surefoot::Timestamp>().is_ok()),
            "{}",
            entry.detail
        );
    }
}

#[tokio::test]
async fn the_audit_log_names_the_run_and_all_limits() {
    let (server, run) = with_a_run().await;
    let body =
        serde_json::json!({ "concurrency": 3, "retention": { "completed": { "count": 5 } } });
    let set = server
        .ask(Method::PATCH, "/api/v1/queues/w")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(set.status(), 200);
    let log = audit::list(server.store.as_ref(), None, 2).await.unwrap();
    assert_eq!(
        (log[1].action.as_str(), log[1].subject.as_str()),
        ("run.submit", "w")
    );
    assert_eq!(
        log[1].detail,
        serde_json::json!({ "key": "k", "run": run["id"] })
    );
    assert_eq!(log[0].action, "queue.set");
    assert_eq!(
        (
            &log[0].detail["concurrency"],
            &log[0].detail["retention"]["completed"]
        ),
        (&3.into(), &"5".into())
    );
}

#[tokio::test]
async fn a_form_needs_the_token_of_its_own_session() {
    let (server, token) = tokens().await;
    let cookie = server.sign_in(&token).await;
    let other = server.sign_in(&token).await;
    let csrf = server.form_token(&cookie).await;
    let others = server.form_token(&other).await;
    for wrong in ["", "x", &others] {
        assert_eq!(
            server.pause(&cookie, wrong).send().await.unwrap().status(),
            403,
            "{wrong}"
        );
    }
    let json = server
        .ask(Method::POST, "/queues/q/pause")
        .header(COOKIE, &cookie)
        .body("{}");
    assert_eq!(
        json.header("content-type", "application/json")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        server
            .pause(&cookie, &csrf)
            .header(ORIGIN, "https://evil.example")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert_eq!(
        server
            .pause(&cookie, &csrf)
            .header("sec-fetch-site", "same-site")
            .send()
            .await
            .unwrap()
            .status(),
        403
    );
    assert!(!server.paused().await);
    let script = server
        .ask(Method::POST, "/queues/q/pause")
        .header(COOKIE, &cookie)
        .header("x-csrf-token", &csrf);
    let script = script
        .header(ORIGIN, server.url(""))
        .header("content-type", FORM);
    assert!(script.send().await.unwrap().status().is_redirection());
    assert!(server.paused().await);
}

#[tokio::test]
async fn a_planted_session_id_is_replaced_at_sign_in() {
    let (server, token) = tokens().await;
    let planted = server.sign_in(&token).await;
    let (browser, csrf) = server.sign_in_form().await;
    let cookies = format!("{planted}; {browser}");
    let request = server
        .ask(Method::POST, "/sign-in")
        .header(COOKIE, cookies)
        .header("content-type", FORM);
    let response = request
        .body(format!("token={token}&csrf={csrf}"))
        .send()
        .await
        .unwrap();
    let fresh = cookie_of(&response).unwrap();
    assert_ne!(fresh, planted);
    let old = server
        .ask(Method::GET, "/runs")
        .header(COOKIE, &planted)
        .send()
        .await
        .unwrap();
    assert_eq!(old.status(), 303, "the session from before has ended");
}

/// Another site's page signs a person in with the attacker's token, to observe what the person does
/// then.
#[tokio::test]
async fn another_site_cannot_sign_a_browser_in() {
    let (server, token) = tokens().await;
    let (browser, csrf) = server.sign_in_form().await;
    let (other, others) = server.sign_in_form().await;
    let send = async |cookie: &str, body: String| {
        let request = server
            .ask(Method::POST, "/sign-in")
            .header(COOKIE, cookie)
            .header("content-type", FORM);
        let response = request.body(body).send().await.unwrap();
        (response.status().as_u16(), cookie_of(&response).is_some())
    };
    assert_eq!(
        send("", format!("token={token}")).await,
        (403, false),
        "no browser, no token"
    );
    assert_eq!(
        send("", format!("token={token}&csrf={csrf}")).await,
        (403, false),
        "a browser that has not opened it"
    );
    assert_eq!(
        send(&browser, format!("token={token}")).await,
        (403, false),
        "no token"
    );
    assert_eq!(
        send(&browser, format!("token={token}&csrf={others}")).await,
        (403, false),
        "another browser's"
    );
    let session = server.sign_in(&token).await;
    let of_session = server.form_token(&session).await;
    assert_eq!(
        send(&browser, format!("token={token}&csrf={of_session}")).await,
        (403, false),
        "a session's"
    );
    assert_eq!(
        send(&other, format!("token={token}&csrf={others}")).await,
        (303, true)
    );
    assert_eq!(
        send(&browser, format!("token={token}&csrf={csrf}")).await,
        (303, true)
    );
    // The page has the same form when it is opened again.
    let again = server
        .ask(Method::GET, "/sign-in")
        .header(COOKIE, &browser)
        .send()
        .await
        .unwrap();
    assert!(cookie_of(&again).is_none() && again.text().await.unwrap().contains(&csrf));
}

#[tokio::test]
async fn cookies_require_tls_when_the_public_url_has_it() {
    let options = ServerOptions {
        public_url: Some("https://surefoot.example".to_owned()),
        ..options()
    };
    let server = Server::start(options, &[Role::Admin]).await;
    let token = admin(&server).await;
    let (browser, csrf) = server.sign_in_form().await;
    assert!(browser.starts_with("__Host-"), "{browser}");
    let request = server
        .ask(Method::POST, "/sign-in")
        .header("content-type", FORM)
        .header(COOKIE, browser);
    let request = request.body(format!("token={token}&csrf={csrf}"));
    let response = request
        .header(ORIGIN, "https://surefoot.example")
        .send()
        .await
        .unwrap();
    let set = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(
        set.starts_with("__Host-surefoot_session=") && set.contains("; Secure"),
        "{set}"
    );
    assert!(
        set.contains("; HttpOnly") && set.contains("; SameSite=Lax") && set.contains("; Path=/"),
        "{set}"
    );
    assert!(response.headers().contains_key("strict-transport-security"));
}

/// A server with a limit of wrong attempts per address, and a form token and cookie for attempts.
async fn few_tries(per_address: u32, trusted: &[&str]) -> (Server, String) {
    let mut options = options();
    options.auth.sign_in = SignInLimits {
        per_address,
        ..SignInLimits::default()
    };
    options.auth.trusted_proxies = trusted
        .iter()
        .map(|network| network.parse().unwrap())
        .collect();
    let server = Server::start(options, &[Role::Admin]).await;
    let token = admin(&server).await;
    (server, token)
}

/// Sends the sign-in form. `from` is the client address stated by a proxy.
async fn try_token(
    server: &Server,
    form: &(String, String),
    token: &str,
    from: Option<&str>,
) -> Response {
    let (browser, csrf) = form;
    let mut request = server
        .ask(Method::POST, "/sign-in")
        .header(COOKIE, browser)
        .header("content-type", FORM);
    if let Some(from) = from {
        request = request.header("x-forwarded-for", from);
    }
    request
        .body(format!("token={token}&next=/runs&csrf={csrf}"))
        .send()
        .await
        .unwrap()
}

#[tokio::test]
async fn wrong_tokens_are_limited_without_blocking_valid_ones() {
    let (server, token) = few_tries(3, &[]).await;
    let form = server.sign_in_form().await;
    let refused = until_refused(3, (Instant::now(), 0), async |_| {
        let response = try_token(&server, &form, "sf_wrong", None).await;
        if response.status() != 429 {
            assert_eq!(location(&response), "/sign-in?error=token&next=%2Fruns");
        }
        assert!(cookie_of(&response).is_none());
        response
    })
    .await;
    let wait: u64 = refused.headers()[RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((1..=20).contains(&wait), "{wait}");
    let right = try_token(&server, &form, &token, None).await;
    assert_eq!(
        (right.status().as_u16(), location(&right)),
        (303, "/runs"),
        "who has the right one is let in all the same"
    );
    let by_token = server
        .ask(Method::GET, "/runs")
        .bearer_auth(&token)
        .send()
        .await
        .unwrap();
    assert_eq!(by_token.status(), 200, "programs are not held up");
}

#[tokio::test]
async fn a_trusted_proxys_header_separates_client_addresses() {
    let (server, _) = few_tries(2, &["127.0.0.0/8"]).await;
    let form = server.sign_in_form().await;
    let send = async |from: String| try_token(&server, &form, "sf_wrong", Some(&from)).await;
    // Addresses claimed by the client precede the one that the proxy saw.
    until_refused(2, (Instant::now(), 0), async |claims| {
        send(format!("192.0.2.{claims}, 203.0.113.1")).await
    })
    .await;
    assert_eq!(send("203.0.113.2".to_owned()).await.status(), 303);
}

#[tokio::test]
async fn a_forwarded_header_from_an_untrusted_peer_is_ignored() {
    let (server, _) = few_tries(2, &[]).await;
    let form = server.sign_in_form().await;
    let send = async |from: String| try_token(&server, &form, "sf_wrong", Some(&from)).await;
    until_refused(2, (Instant::now(), 0), async |claims| {
        send(format!("192.0.2.{claims}")).await
    })
    .await;
}

#[tokio::test]
async fn an_invalid_token_is_refused_even_with_a_valid_session() {
    let (server, token) = tokens().await;
    let cookie = server.sign_in(&token).await;
    let request = server
        .ask(Method::POST, "/queues/q/pause")
        .header(COOKIE, cookie)
        .bearer_auth("sf_gone");
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 401);
    assert_eq!(response.headers()["www-authenticate"], "Bearer");
}

#[tokio::test]
async fn local_requests_are_admitted_until_there_is_a_token() {
    let server = Server::open().await;
    assert_eq!(server.get("/audit").await.status(), 200);
    let pause = || server.ask(Method::POST, "/queues/q/pause");
    let evil = pause()
        .header(ORIGIN, "http://evil.example")
        .header("content-type", FORM);
    assert_eq!(evil.send().await.unwrap().status(), 403);
    let form = pause()
        .header(ORIGIN, server.url(""))
        .header("content-type", FORM);
    assert_eq!(
        form.send().await.unwrap().status(),
        403,
        "our own forms carry a token"
    );
    assert!(!server.paused().await);
    let csrf = server.form_token("").await;
    assert!(
        server
            .pause("", &csrf)
            .send()
            .await
            .unwrap()
            .status()
            .is_redirection()
    );
    assert!(server.paused().await);

    let token = admin(&server).await;
    let deadline = Instant::now() + Duration::from_secs(60);
    while server.get("/audit").await.status() == 200 {
        assert!(Instant::now() < deadline, "it never closed");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    token::revoke(server.store.as_ref(), "ann").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(
        server.get("/audit").await.status(),
        303,
        "what has closed stays closed"
    );
    let gone = server
        .ask(Method::GET, "/audit")
        .bearer_auth(token)
        .send()
        .await
        .unwrap();
    assert_eq!(gone.status(), 303);
}

#[tokio::test]
async fn a_request_for_an_unknown_host_name_is_refused() {
    let server = Server::open().await;
    for host in [
        "evil.example",
        &format!("evil.example:{}", server.address.port()),
    ] {
        let response = server
            .ask(Method::GET, "/")
            .header(HOST, host)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 421, "{host}");
    }
    let name = format!("localhost:{}", server.address.port());
    let response = server
        .ask(Method::GET, "/")
        .header(HOST, name)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
}

/// A local proxy forwards requests from anywhere, and nginx's default settings name the host
/// 127.0.0.1:7878.
#[tokio::test]
async fn a_proxied_request_is_not_taken_for_a_local_one() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let server = Server::open().await;
    for name in [
        "forwarded",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-real-ip",
        "via",
    ] {
        let response = server
            .ask(Method::GET, "/api/v1/me")
            .header(name, "203.0.113.7")
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 403, "{name}");
        let problem: serde_json::Value = response.json().await.unwrap();
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("surefoot token create --role admin NAME"),
            "{problem}"
        );
    }
    let said = async |version: &str| {
        let mut stream = tokio::net::TcpStream::connect(server.address)
            .await
            .unwrap();
        let request = format!(
            "GET /api/v1/me HTTP/{version}\r\nHost: {}\r\nConnection: close\r\n\r\n",
            server.address
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(
        (said("1.0").await.as_str(), said("1.1").await.as_str()),
        ("403", "200"),
        "nginx speaks 1.0 by itself"
    );
    let probe = server
        .ask(Method::GET, "/healthz")
        .header("x-forwarded-for", "203.0.113.7")
        .send()
        .await
        .unwrap();
    assert_eq!(probe.status(), 200);
    // With sign-in, requests through a proxy are accepted.
    let (server, token) = tokens().await;
    let request = server
        .ask(Method::GET, "/api/v1/me")
        .header("x-forwarded-for", "203.0.113.7")
        .bearer_auth(token);
    assert_eq!(request.send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn public_routes_do_not_wait_for_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let store = Arc::new(SqliteStore::open(&folder.path().join("surefoot.db")).unwrap());
    token::create(store.as_ref(), "ann", Role::Admin, None, "test")
        .await
        .unwrap();
    let store = Arc::new(FaultyStore::sound(store));
    let server = Server::over(listener, store.clone(), options(), folder);
    assert_eq!(server.get("/healthz").await.status(), 200);
    store.set_slow(Duration::from_secs(3600));
    for path in ["/healthz", "/sign-in", "/api/openapi.json"] {
        let asked = server
            .ask(Method::GET, path)
            .bearer_auth("sf_any")
            .header(COOKIE, "surefoot_session=any");
        let answered = tokio::time::timeout(Duration::from_secs(60), asked.send()).await;
        assert_eq!(answered.expect(path).unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn an_address_with_a_path_is_refused() {
    let named = ServerOptions {
        public_url: Some("https://example.com/surefoot".to_owned()),
        ..options()
    };
    let error = Server::start(named, &[Role::Admin])
        .await
        .ended()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("without a path"), "{error}");
}

#[tokio::test]
async fn a_reachable_server_does_not_start_without_sign_in() {
    let everywhere = async || TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await.unwrap();
    let mut server = Server::on(everywhere().await, options(), &[Role::Operator]).await;
    let error = server.ended().await.unwrap_err();
    assert!(
        matches!(error, ServeError::Auth(AuthError::Open { .. })),
        "{error}"
    );
    assert!(
        error
            .to_string()
            .contains("surefoot token create --role admin NAME"),
        "{error}"
    );

    let named = ServerOptions {
        public_url: Some("https://surefoot.example".to_owned()),
        ..options()
    };
    let error = Server::start(named, &[]).await.ended().await.unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("https://surefoot.example can be reached"),
        "{error}"
    );

    let server = Server::on(everywhere().await, options(), &[Role::Admin]).await;
    let local = format!("http://127.0.0.1:{}/", server.address.port());
    let response = server.http.get(local).send().await.unwrap();
    assert_eq!(response.status(), 303, "it asks who one is");
}

#[tokio::test]
async fn servers_with_different_secrets_do_not_serve_one_store() {
    let server = Server::open().await;
    server.get("/healthz").await;
    let start = async |secret| {
        let options = crate::auth::AuthOptions::new(secret);
        crate::auth::Auth::new(server.store.clone(), options, server.address, None).await
    };
    let error = start(ServerSecret::random()).await.unwrap_err();
    assert!(
        matches!(error, AuthError::Secret(SecretError::Differs)),
        "{error}"
    );
    start(options().auth.secret).await.unwrap();
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let server = Server::open().await;
    for path in ["/", "/nowhere", "/healthz", "/sign-in"] {
        let response = server.get(path).await;
        let policy = response.headers()["content-security-policy"]
            .to_str()
            .unwrap();
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{path}: {policy}"
        );
        assert_eq!(
            response.headers()["x-content-type-options"],
            "nosniff",
            "{path}"
        );
        assert_eq!(response.headers()["x-frame-options"], "DENY", "{path}");
    }
}
