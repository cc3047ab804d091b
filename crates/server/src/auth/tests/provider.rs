//! Sign-in at a real OpenID Connect provider (npm's oidc-provider), as a browser does it: with
//! cookies and redirects.

use std::collections::BTreeMap;

use reqwest::header::{COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Client as Http, Response, Url};
use surefoot::Secret;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Server, options, until_refused};
use crate::auth::{Auth, OidcOptions, Role, RoleMapping, SignInLimits};
use crate::node::Node;
use crate::{ServerOptions, audit};

struct World {
    server: Server,
    provider: Node,
}

impl World {
    async fn start(environment: &[(&str, &str)]) -> Self {
        Self::with(environment, SignInLimits::default()).await
    }

    async fn with(environment: &[(&str, &str)], sign_in: SignInLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let public_url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let redirect = format!("{public_url}/sign-in/oidc/callback");
        let environment: Vec<_> = environment
            .iter()
            .copied()
            .chain([("REDIRECT", redirect.as_str())])
            .collect();
        let provider = Node::start("provider.mjs", &environment).await;
        let mut options = ServerOptions {
            public_url: Some(public_url),
            ..options()
        };
        options.auth.oidc = Some(oidc(&provider.first_line));
        options.auth.sign_in = sign_in;
        Self {
            server: Server::on(listener, options, &[]).await,
            provider,
        }
    }

    async fn is(&self, user: &str) {
        let address = format!("{}/test/user?login={user}", self.provider.first_line);
        Http::new().post(address).send().await.unwrap();
    }
}

pub(super) fn oidc(issuer: &str) -> OidcOptions {
    let list = |word: &str| vec![word.to_owned()];
    OidcOptions {
        name: "Our provider".to_owned(),
        issuer: issuer.to_owned(),
        client_id: "surefoot".to_owned(),
        client_secret: Some(Secret::new("a-secret-that-only-the-test-knows-0123456789")),
        scopes: ["openid", "profile", "groups"].map(str::to_owned).to_vec(),
        name_claim: None,
        roles: RoleMapping {
            claim: "groups".to_owned(),
            admin: list("platform-admins"),
            operator: list("developers"),
            viewer: list("guests"),
            everybody: None,
        },
    }
}

/// Acts like a browser: stores cookies by host and port, and follows redirects.
#[derive(Default)]
struct Browser {
    jar: BTreeMap<String, BTreeMap<String, String>>,
    went: Vec<Url>,
}

impl Browser {
    async fn step(&mut self, server: &Server, url: &Url) -> Response {
        let jar = self.jar.entry(url.authority().to_owned()).or_default();
        let cookies = jar
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("; ");
        let response = server
            .http
            .get(url.clone())
            .header(COOKIE, cookies)
            .send()
            .await
            .unwrap();
        for set in response.headers().get_all(SET_COOKIE) {
            let (name, value) = set
                .to_str()
                .unwrap()
                .split(';')
                .next()
                .unwrap()
                .split_once('=')
                .unwrap();
            jar.insert(name.to_owned(), value.to_owned());
        }
        self.went.push(url.clone());
        response
    }

    /// Opens an address and follows redirects to the first page that does not redirect.
    async fn go(&mut self, server: &Server, address: &str) -> (Url, Response) {
        let mut url = Url::parse(address).unwrap();
        for _ in 0..20 {
            let response = self.step(server, &url).await;
            match response.headers().get(LOCATION) {
                Some(next) => url = url.join(next.to_str().unwrap()).unwrap(),
                None => return (url, response),
            }
        }
        panic!("it goes round in circles: {:?}", self.went);
    }

    fn callback(&self) -> Url {
        self.went
            .iter()
            .find(|url| url.path() == "/sign-in/oidc/callback")
            .expect("it came back")
            .clone()
    }
}

impl World {
    fn begin(&self) -> String {
        format!(
            "http://localhost:{}/sign-in/oidc?next=/runs%3Fstatus%3Dfailed",
            self.server.address.port()
        )
    }

    async fn sign_in(&self, browser: &mut Browser) -> (Url, Response) {
        browser.go(&self.server, &self.begin()).await
    }
}

#[tokio::test]
async fn people_get_the_role_of_their_group() {
    for environment in [
        &[][..],
        &[("CLAIMS", "id_token")],
        &[("METHOD", "client_secret_post")],
    ] {
        let world = World::start(environment).await;
        for (user, role) in [
            ("ann", Role::Admin),
            ("bob", Role::Operator),
            ("vic", Role::Viewer),
        ] {
            world.is(user).await;
            let (url, response) = world.sign_in(&mut Browser::default()).await;
            assert_eq!(
                (url.path(), url.query(), response.status().as_u16()),
                ("/runs", Some("status=failed"), 200)
            );
            let entry = audit::list(world.server.store.as_ref(), None, 1)
                .await
                .unwrap()
                .remove(0);
            assert_eq!(
                (entry.actor.as_str(), entry.role.as_str()),
                (user, role.as_str()),
                "{environment:?}"
            );
            assert_eq!(entry.detail["by"]["subject"], user);
        }
    }
}

#[tokio::test]
async fn a_person_without_a_role_or_consent_is_not_signed_in() {
    let world = World::start(&[]).await;
    for (user, word) in [("eve", "role"), ("refused", "denied")] {
        world.is(user).await;
        let mut browser = Browser::default();
        let (url, _) = world.sign_in(&mut browser).await;
        assert_eq!(url.path(), "/sign-in");
        assert!(
            url.query()
                .unwrap()
                .starts_with(&format!("error={word}&next=")),
            "{url}"
        );
        let (url, _) = browser
            .go(
                &world.server,
                &world
                    .begin()
                    .replace("/sign-in/oidc?next=/runs%3Fstatus%3Dfailed", "/runs"),
            )
            .await;
        assert_eq!(url.path(), "/sign-in", "there is no session");
    }
}

#[tokio::test]
async fn the_authorization_request_has_all_parameters_of_the_flow() {
    let world = World::start(&[]).await;
    let mut browser = Browser::default();
    let begin = Url::parse(&world.begin()).unwrap();
    let response = browser.step(&world.server, &begin).await;
    let sent = Url::parse(response.headers()[LOCATION].to_str().unwrap()).unwrap();
    let query: BTreeMap<_, _> = sent.query_pairs().collect();
    assert_eq!(query["response_type"], "code");
    assert_eq!(query["code_challenge_method"], "S256");
    assert!(
        query["code_challenge"].len() == 43
            && query["state"].len() == 43
            && query["nonce"].len() == 43
    );
    assert_eq!(query["scope"], "openid profile groups");
    let cookie = response.headers()[SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly")
            && cookie.contains("SameSite=Lax")
            && cookie.contains("Max-Age=600"),
        "{cookie}"
    );
}

#[tokio::test]
async fn a_callback_is_valid_once_and_only_in_its_own_browser() {
    let world = World::start(&[]).await;
    let mut browser = Browser::default();
    world.sign_in(&mut browser).await;
    let callback = browser.callback();

    let (url, _) = Browser::default()
        .go(&world.server, callback.as_str())
        .await;
    assert!(
        url.query().unwrap_or_default().contains("error=state"),
        "another browser did not ask: {url}"
    );

    let mut victim = Browser::default();
    victim
        .step(&world.server, &Url::parse(&world.begin()).unwrap())
        .await;
    let (url, _) = victim.go(&world.server, callback.as_str()).await;
    assert!(
        url.query().unwrap_or_default().contains("error=state"),
        "it asked for another: {url}"
    );

    let mut again = Browser::default();
    again
        .step(&world.server, &Url::parse(&world.begin()).unwrap())
        .await;
    let state = again.jar.clone();
    world.sign_in(&mut browser).await;
    let (url, _) = again.go(&world.server, callback.as_str()).await;
    assert!(
        url.query().unwrap_or_default().contains("error="),
        "{url}, {state:?}"
    );
}

#[tokio::test]
async fn an_unavailable_provider_is_reported_and_tokens_still_work() {
    let mut world = World::start(&[]).await;
    world.provider = Node::start("provider.mjs", &[("REDIRECT", "http://localhost/x")]).await;
    let (url, response) = world.sign_in(&mut Browser::default()).await;
    assert_eq!((url.path(), response.status().as_u16()), ("/sign-in", 200));
    assert!(url.query().unwrap().starts_with("error=provider"), "{url}");
    assert_eq!(world.server.get("/healthz").await.status(), 200);
}

#[tokio::test]
async fn invented_codes_are_throttled_without_blocking_sign_in() {
    let world = World::with(
        &[],
        SignInLimits {
            per_address: 4,
            ..SignInLimits::default()
        },
    )
    .await;
    for _ in 0..10 {
        let (url, _) = world.sign_in(&mut Browser::default()).await;
        assert_eq!(url.path(), "/runs", "who signs in spends nothing");
    }
    let began = Instant::now();
    let mut browser = Browser::default();
    let begin = Url::parse(&world.begin()).unwrap();
    let sent = browser.step(&world.server, &begin).await;
    let sent = Url::parse(sent.headers()[LOCATION].to_str().unwrap()).unwrap();
    let state = sent
        .query_pairs()
        .find(|(name, _)| name == "state")
        .unwrap()
        .1
        .into_owned();
    let kept = browser.jar.clone();
    let callback = begin
        .join(&format!(
            "/sign-in/oidc/callback?code=made-up&state={state}"
        ))
        .unwrap();
    until_refused(4, (began, 1), async |_| {
        browser.jar = kept.clone();
        browser.step(&world.server, &callback).await
    })
    .await;
}

#[tokio::test]
async fn a_session_ends_when_the_role_mapping_changes() {
    let world = World::start(&[]).await;
    world.is("ann").await;
    let mut browser = Browser::default();
    world.sign_in(&mut browser).await;
    let cookies = &browser.jar[&format!("localhost:{}", world.server.address.port())];
    let cookies = cookies
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("; ");
    let headers = axum::http::HeaderMap::from_iter([(COOKIE, cookies.parse().unwrap())]);
    let who = async |change: &dyn Fn(&mut OidcOptions)| {
        let mut oidc = oidc(&world.provider.first_line);
        change(&mut oidc);
        let auth = crate::auth::AuthOptions {
            oidc: Some(oidc),
            ..options().auth
        };
        let public_url = Some("http://localhost:1");
        let auth = Auth::new(
            world.server.store.clone(),
            auth,
            world.server.address,
            public_url,
        )
        .await
        .unwrap();
        auth.actor(axum::http::Version::HTTP_11, &headers)
            .await
            .unwrap()
            .map(|actor| actor.name)
    };
    assert_eq!(who(&|_| {}).await.as_deref(), Some("ann"));
    assert_eq!(
        who(&|oidc| oidc.name = "Another name".to_owned())
            .await
            .as_deref(),
        Some("ann")
    );
    assert_eq!(who(&|oidc| oidc.roles.admin.clear()).await, None);
    assert_eq!(
        who(&|oidc| oidc.roles.everybody = Some(Role::Viewer)).await,
        None
    );
    assert_eq!(
        who(&|oidc| oidc.client_id = "another".to_owned()).await,
        None
    );
}
