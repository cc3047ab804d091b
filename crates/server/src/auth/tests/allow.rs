//! Allow-lists of roles and tokens, for every way to start work: the API and the pages, with a
//! token, a session begun with a token, and a session from an identity provider.

use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use surefoot::store::RunFilter;
use surefoot::{AllowList, AllowLists, Client, RunId, Submit, Workflow};
use tokio::net::TcpListener;

use super::provider::oidc;
use super::{FORM, Server, options};
use crate::auth::oidc::Oidc;
use crate::auth::session::{self, Basis};
use crate::auth::{Role, RoleLists, SessionLimits, token};
use crate::{ServerOptions, Workflows};

const PUBLIC: &str = "http://localhost:7878";

fn lists(workflows: Option<&str>, actions: Option<&str>) -> AllowLists {
    let read = |text: Option<&str>| {
        text.map_or_else(AllowList::everything, |text| {
            AllowList::parse(text).unwrap()
        })
    };
    AllowLists {
        workflows: read(workflows),
        actions: read(actions),
    }
}

fn workflows() -> Vec<Arc<Workflow>> {
    let flow = |name: &str, action: &str| {
        let begun = Workflow::builder(name).queue("q");
        Arc::new(begun.step("only", action).build().unwrap())
    };
    vec![
        flow("project-a", "git.push"),
        flow("project-b", "command.run"),
        flow("deploy", "git.push"),
    ]
}

/// A server with allow-lists of roles, and a provider that is never contacted.
async fn server(of_roles: RoleLists) -> Server {
    let mut options = ServerOptions {
        public_url: Some(PUBLIC.to_owned()),
        ..options()
    };
    options.workflows = Workflows::new(workflows());
    options.auth.lists = of_roles;
    options.auth.oidc = Some(oidc("http://localhost:1"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server::on(listener, options, &[]).await
}

/// A caller, by way of authentication.
enum By {
    Token(String),
    Cookie { cookie: String, csrf: String },
}

impl By {
    fn on(&self, request: RequestBuilder) -> RequestBuilder {
        match self {
            Self::Token(token) => request.bearer_auth(token),
            Self::Cookie { cookie, csrf } => request
                .header(COOKIE, cookie)
                .header("origin", PUBLIC)
                .header("x-csrf-token", csrf),
        }
    }

    async fn api(&self, server: &Server, path: &str, body: Value) -> Response {
        let request = server.ask(Method::POST, path).json(&body);
        self.on(request).send().await.unwrap()
    }

    async fn form(&self, server: &Server, path: &str, fields: &str) -> Response {
        let request = server
            .ask(Method::POST, path)
            .header("content-type", FORM)
            .body(fields.to_owned());
        self.on(request).send().await.unwrap()
    }
}

async fn token_of(server: &Server, name: &str, role: Role, allow: AllowLists) -> String {
    let made = token::create_limited(server.store.as_ref(), name, role, allow, None, "test").await;
    made.unwrap().secret.expose().to_owned()
}

async fn session_of(server: &Server, token: &str) -> By {
    let cookie = server.sign_in(token).await;
    let csrf = server.form_token(&cookie).await;
    By::Cookie { cookie, csrf }
}

/// A session of a person with this role who signed in at the identity provider.
async fn from_provider(server: &Server, role: Role) -> By {
    let provider = Oidc::new(oidc("http://localhost:1"), Some(PUBLIC)).unwrap();
    let basis = Basis::Provider(provider.fingerprint().to_owned());
    let limits = SessionLimits::default();
    let begun = session::begin(server.store.as_ref(), &limits, "ann", role, basis).await;
    let cookie = format!("surefoot_session={}", begun.unwrap().0);
    let csrf = server.form_token(&cookie).await;
    By::Cookie { cookie, csrf }
}

/// Tries everything that makes a workflow run. `owner` is the owner of the list that refuses it;
/// `None` when all permit it.
async fn check(server: &Server, by: &By, workflow: &Arc<Workflow>, owner: Option<&str>) {
    let name = workflow.name();
    let what = format!("{name}, {owner:?}");
    // A refusal of the API names the list and the refused workflow or actions.
    let api = async |path: &str, body: Value, permitted: &[u16]| {
        let response = by.api(server, path, body).await;
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        let Some(owner) = owner else {
            assert!(
                permitted.contains(&status),
                "{path}, {what}: {status} {text}"
            );
            return;
        };
        assert_eq!(status, 403, "{path}, {what}: {text}");
        let problem: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(problem["type"], "urn:surefoot:problem:not-permitted");
        assert_eq!(problem["not_permitted"]["list"], owner, "{problem}");
        let refused = &problem["not_permitted"];
        assert!(
            refused["workflow"] == name || refused["actions"] == json!(["command.run"]),
            "{problem}"
        );
    };
    let page = async |response: Response, permitted: u16| {
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        assert_eq!(
            status,
            if owner.is_some() { 403 } else { permitted },
            "{what}: {text}"
        );
        if let Some(owner) = owner {
            assert!(text.contains(owner), "{what}: {owner} is named in {text}");
        }
    };
    let count = async || {
        let all = RunFilter {
            limit: 10_000,
            ..RunFilter::default()
        };
        server.store.runs(all).await.unwrap().len()
    };
    let before = count().await;
    api("/api/v1/runs", json!({ "workflow": name }), &[201]).await;
    api(
        &format!("/api/v1/workflows/{name}/dry-run"),
        json!({}),
        &[200],
    )
    .await;
    let new = format!("/new?workflow={name}");
    let form = by.on(server.ask(Method::GET, &new)).send().await.unwrap();
    page(form, 200).await;
    page(by.form(server, &new, "do=dry").await, 200).await;
    page(by.form(server, &new, "do=start").await, 303).await;
    let choices = by.on(server.ask(Method::GET, "/new")).send().await.unwrap();
    let choices = choices.text().await.unwrap();
    let is_offered = choices.contains(&format!("/new?workflow={name}\""));
    assert_eq!(is_offered, owner.is_none(), "{what}: {choices}");
    let added = count().await - before;
    assert_eq!(added, if owner.is_some() { 0 } else { 2 }, "{what}");

    let client = Client::new(server.store.clone());
    let run = async || {
        client
            .submit(Submit::new(workflow.clone()))
            .await
            .unwrap()
            .run
            .id
    };
    let id: RunId = run().await;
    // A permitted action is refused by the state rules: nothing failed, and nothing asks.
    api(&format!("/api/v1/runs/{id}/retry"), json!({}), &[409]).await;
    let answer = json!({ "step": "only", "answer": "approve" });
    api(&format!("/api/v1/runs/{id}/answer"), answer, &[409]).await;
    let act = by.form(server, &format!("/runs/{id}/retry"), "").await;
    let flash = act.headers()[SET_COOKIE].to_str().unwrap().to_owned();
    assert_eq!(flash.contains("ermit"), owner.is_some(), "{what}: {flash}");
    let bulk = json!({ "action": "cancel", "undo": true, "filter": { "text": id.to_string() } });
    let bulk = by.api(server, "/api/v1/runs/bulk", bulk).await;
    let bulk: Value = bulk.json().await.unwrap();
    let refused = bulk["refused"].as_array().unwrap().len();
    assert_eq!(refused, usize::from(owner.is_some()), "{what}: {bulk}");
    let id = run().await;
    let path = format!("/api/v1/runs/{id}/cancel");
    api(&path, json!({ "undo": true }), &[200]).await;
    // A cancel without undo runs nothing.
    let id = run().await;
    let path = format!("/api/v1/runs/{id}/cancel");
    assert_eq!(
        by.api(server, &path, json!({})).await.status(),
        200,
        "{what}"
    );
}

/// Every actor, with the owner of the list that refuses each workflow.
#[tokio::test]
async fn allow_lists_of_roles_and_tokens_apply_to_every_way_to_start_work() {
    let of_roles = RoleLists {
        operator: lists(Some("project-*"), None),
        ..RoleLists::default()
    };
    let server = server(of_roles).await;
    let role = "role operator";
    let plain = token_of(&server, "plain", Role::Operator, AllowLists::default()).await;
    let narrow = lists(None, Some("git.*"));
    let narrow = token_of(&server, "narrow", Role::Operator, narrow).await;
    let boss = token_of(&server, "boss", Role::Admin, AllowLists::default()).await;
    let nothing = token_of(&server, "nothing", Role::Admin, lists(Some(""), None)).await;
    let table = [
        (By::Token(plain), BTreeMap::from([("deploy", role)])),
        (
            By::Token(narrow.clone()),
            BTreeMap::from([("deploy", role), ("project-b", "token `narrow`")]),
        ),
        (
            session_of(&server, &narrow).await,
            BTreeMap::from([("deploy", role), ("project-b", "token `narrow`")]),
        ),
        (By::Token(boss), BTreeMap::new()),
        (
            By::Token(nothing),
            ["project-a", "project-b", "deploy"]
                .map(|name| (name, "token `nothing`"))
                .into(),
        ),
        (
            from_provider(&server, Role::Operator).await,
            BTreeMap::from([("deploy", role)]),
        ),
        (from_provider(&server, Role::Admin).await, BTreeMap::new()),
    ];
    for (by, refused) in &table {
        for workflow in workflows() {
            check(
                &server,
                by,
                &workflow,
                refused.get(workflow.name()).copied(),
            )
            .await;
        }
    }
}

/// A queue's list holds for the API and the pages too, whatever the role.
#[tokio::test]
async fn a_queue_refuses_workflows_outside_its_list_on_pages_and_api() {
    let server = server(RoleLists::default()).await;
    let boss = token_of(&server, "boss", Role::Admin, AllowLists::default()).await;
    let by = session_of(&server, &boss).await;
    let change = by.on(server.ask(Method::PATCH, "/api/v1/queues/q"));
    server.store.pause_queue("q", false).await.unwrap();
    let change = change.json(&json!({ "workflows": ["project-*"], "actions": ["git.*"] }));
    let changed: Value = change.send().await.unwrap().json().await.unwrap();
    assert_eq!(
        changed["limits"]["workflows"],
        json!(["project-*"]),
        "{changed}"
    );
    // The form has no lists, and leaves them as they are.
    let form = by.form(&server, "/queues/q/limits", "concurrency=3").await;
    assert_eq!(form.status(), 303);
    let allow = server.store.queues().await.unwrap().remove(0).limits.allow;
    assert_eq!(allow, lists(Some("project-*"), Some("git.*")));
    for (workflow, reason) in [
        ("project-a", None),
        ("project-b", Some("action command.run")),
        ("deploy", Some("workflow `deploy`")),
    ] {
        let api = by
            .api(&server, "/api/v1/runs", json!({ "workflow": workflow }))
            .await;
        let page = by
            .form(&server, &format!("/new?workflow={workflow}"), "do=start")
            .await;
        let statuses = [api.status().as_u16(), page.status().as_u16()];
        let Some(reason) = reason else {
            assert_eq!(statuses, [201, 303], "{workflow}");
            continue;
        };
        assert_eq!(statuses, [403, 403], "{workflow}");
        let problem: Value = api.json().await.unwrap();
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(&format!("queue `q` does not permit {reason}")),
            "{detail}"
        );
        let page = page.text().await.unwrap();
        assert!(page.contains("Queue q does not permit"), "{page}");
    }
    let page = by
        .on(server.ask(Method::GET, "/queues"))
        .send()
        .await
        .unwrap();
    let page = page.text().await.unwrap();
    assert!(
        page.contains("Workflows: project-*") && page.contains("Actions: git.*"),
        "{page}"
    );
    let odd = by.on(server.ask(Method::PATCH, "/api/v1/queues/q"));
    let odd = odd
        .json(&json!({ "workflows": ["a b"] }))
        .send()
        .await
        .unwrap();
    assert_eq!(odd.status(), 422);
}
