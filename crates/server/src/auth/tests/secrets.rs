//! A refused secret is quoted nowhere: not in the response, not on the page, not in the audit log.

use std::sync::Arc;

use reqwest::Method;
use reqwest::header::ORIGIN;
use serde_json::json;
use surefoot::Workflow;

use super::{FORM, Server, options};
use crate::{ServerOptions, Workflows, audit};

const SECRET: &str = "hunter22";

async fn server() -> Server {
    let workflow = Workflow::builder("deploy")
        .parameters(json!({
            "type": "object",
            "properties": { "password": { "type": "string", "writeOnly": true, "pattern": "^[a-z]+$" } },
        }))
        .step("only", "work")
        .build();
    let workflows = Workflows::new(vec![Arc::new(workflow.unwrap())]);
    Server::start(
        ServerOptions {
            workflows,
            ..options()
        },
        &[],
    )
    .await
}

async fn audited(server: &Server) -> String {
    format!(
        "{:?}",
        audit::list(server.store.as_ref(), None, 10).await.unwrap()
    )
}

#[tokio::test]
async fn a_problem_does_not_quote_a_secret() {
    let server = server().await;
    let body = json!({ "workflow": "deploy", "parameters": { "password": SECRET } });
    let response = server
        .ask(Method::POST, "/api/v1/runs")
        .json(&body)
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 422);
    let problem = response.text().await.unwrap();
    assert!(
        problem.contains("the value does not match") && !problem.contains(SECRET),
        "{problem}"
    );
    let log = audited(&server).await;
    assert!(
        log.contains("Refused")
            && log.contains("the value does not match")
            && !log.contains(SECRET),
        "{log}"
    );
}

#[tokio::test]
async fn a_form_error_does_not_quote_a_secret() {
    let server = server().await;
    let csrf = server.form_token("").await;
    let form = server
        .ask(Method::POST, "/new?workflow=deploy")
        .header("content-type", FORM);
    let form = form
        .header(ORIGIN, server.url(""))
        .body(format!("csrf={csrf}&p/password={SECRET}"));
    let response = form.send().await.unwrap();
    assert_eq!(response.status(), 422);
    let page = response.text().await.unwrap();
    assert!(page.contains("the value does not match"), "{page}");
    // The field must not contain it either; it must be entered again.
    assert!(
        page.contains("type=\"password\" value=\"\"") && !page.contains(SECRET),
        "{page}"
    );
}
