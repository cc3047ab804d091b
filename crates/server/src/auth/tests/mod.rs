//! A real server on a real store, with requests as browsers and programs make them.

mod allow;
mod provider;
mod routes;
mod secrets;
mod sessions;
mod streams;

use std::net::SocketAddr;
use std::sync::Arc;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client as Http, Method, RequestBuilder, Response};
use surefoot::{Client, Secret, Store};
use surefoot_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{ServeError, ServerOptions, Workflows, serve};

/// A server that runs until it is dropped.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) store: Arc<dyn Store>,
    http: Http,
    _folder: tempfile::TempDir,
    tasks: JoinSet<Result<(), ServeError>>,
}

pub(super) fn options() -> ServerOptions {
    let secret = ServerSecret::new(&Secret::new("0123456789abcdef0123456789abcdef")).unwrap();
    ServerOptions::new(AuthOptions::new(secret), Workflows::default())
}

impl Server {
    /// A server without any token, so that no sign-in is possible.
    pub(super) async fn open() -> Self {
        Self::start(options(), &[]).await
    }

    /// A server with a token for each role; also returns the tokens.
    pub(super) async fn with_tokens() -> (Self, Vec<(Role, String)>) {
        let server = Self::start(options(), &Role::ALL).await;
        let mut tokens = Vec::new();
        for role in Role::ALL {
            let made = token::create(
                server.store.as_ref(),
                &format!("{role} 2"),
                role,
                None,
                "test",
            )
            .await
            .unwrap();
            tokens.push((role, made.secret.expose().to_owned()));
        }
        (server, tokens)
    }

    pub(super) async fn start(options: ServerOptions, roles: &[Role]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, options, roles).await
    }

    pub(super) async fn on(listener: TcpListener, options: ServerOptions, roles: &[Role]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> =
            Arc::new(SqliteStore::open(&folder.path().join("surefoot.db")).unwrap());
        for role in roles {
            token::create(store.as_ref(), role.as_str(), *role, None, "test")
                .await
                .unwrap();
        }
        Self::over(listener, store, options, folder)
    }

    /// A server on a store made by the test; the folder lives as long as the server.
    pub(super) fn over(
        listener: TcpListener,
        store: Arc<dyn Store>,
        options: ServerOptions,
        folder: tempfile::TempDir,
    ) -> Self {
        let address = listener.local_addr().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(
            listener,
            Client::new(store.clone()),
            options,
            CancellationToken::new(),
        ));
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Http::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .unwrap();
        Self {
            address,
            store,
            http,
            _folder: folder,
            tasks,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(super) fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub(super) async fn get(&self, path: &str) -> Response {
        self.ask(Method::GET, path).send().await.unwrap()
    }

    /// The cookie and the form token of a browser that opened the sign-in page.
    pub(super) async fn sign_in_form(&self) -> (String, String) {
        let response = self.get("/sign-in").await;
        let cookie = cookie_of(&response).expect("the page is bound to the browser");
        (cookie, token_on(&response.text().await.unwrap()))
    }

    /// Signs in with a token and returns the cookie that a browser would send afterwards.
    pub(super) async fn sign_in(&self, token: &str) -> String {
        let (browser, csrf) = self.sign_in_form().await;
        let request = self
            .ask(Method::POST, "/sign-in")
            .body(format!("token={token}&next=/runs&csrf={csrf}"));
        let response = request
            .header(COOKIE, browser)
            .header("content-type", FORM)
            .send()
            .await
            .unwrap();
        assert_eq!(
            (response.status().as_u16(), location(&response)),
            (303, "/runs")
        );
        cookie_of(&response).expect("a session")
    }

    /// The form token on the pages of this session.
    pub(super) async fn form_token(&self, cookie: &str) -> String {
        let page = self
            .ask(Method::GET, "/runs")
            .header(COOKIE, cookie)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        token_on(&page)
    }

    /// Pauses a queue by its form.
    pub(super) fn pause(&self, cookie: &str, csrf: &str) -> RequestBuilder {
        let request = self
            .ask(Method::POST, "/queues/q/pause")
            .header(COOKIE, cookie);
        request
            .header("content-type", FORM)
            .body(format!("csrf={csrf}"))
    }

    pub(super) async fn paused(&self) -> bool {
        self.store
            .queues()
            .await
            .unwrap()
            .iter()
            .any(|queue| queue.name == "q" && queue.paused)
    }

    /// The result of a server that has ended.
    pub(super) async fn ended(&mut self) -> Result<(), ServeError> {
        self.tasks.join_next().await.unwrap().unwrap()
    }
}

/// Repeats an attempt until it is refused, and returns that response. An address without attempts
/// before `began` has `limit` of them, plus those that have come back since, evenly over a minute.
pub(super) async fn until_refused(
    limit: u32,
    (began, spent): (Instant, u32),
    mut one: impl AsyncFnMut(u32) -> Response,
) -> Response {
    let mut tries = spent;
    loop {
        let answer = one(tries).await;
        if answer.status() == 429 {
            assert!(tries >= limit, "{tries} tries");
            return answer;
        }
        tries += 1;
        assert_eq!(answer.status(), 303, "try {tries}");
        let came_back = began.elapsed().as_secs_f64() * f64::from(limit) / 60.0;
        assert!(
            f64::from(tries) <= f64::from(limit) + came_back,
            "{tries} tries, of which {came_back} came back"
        );
    }
}

pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The form token on a page.
fn token_on(page: &str) -> String {
    let (_, rest) = page
        .split_once("name=\"csrf\" value=\"")
        .expect("a form on the page");
    rest.split('"').next().unwrap().to_owned()
}

pub(super) fn location(response: &Response) -> &str {
    response
        .headers()
        .get(LOCATION)
        .map_or("", |value| value.to_str().unwrap())
}

/// The cookie set by a response, as the browser sends it back.
pub(super) fn cookie_of(response: &Response) -> Option<String> {
    let set = response.headers().get(SET_COOKIE)?.to_str().unwrap();
    set.split(';')
        .next()
        .map(str::to_owned)
        .filter(|pair| !pair.ends_with('='))
}
