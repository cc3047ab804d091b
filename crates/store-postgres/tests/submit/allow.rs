//! A queue's allow-lists hold for `submit` in the database as for a client: the same verdict, in
//! the same words.

use std::sync::Arc;

use surefoot::{
    AllowList, AllowLists, ListOwner, QueueLimits, Store, Submit, SubmitError, Workflow,
};

use crate::support::Scene;

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

#[tokio::test]
async fn what_a_queue_refuses_is_refused_in_the_database_too() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let flow = |name: &str, actions: &[&str]| {
        let begun = Workflow::builder(name).queue("line");
        let steps = (1..).zip(actions);
        let whole = steps.fold(begun, |flow, (number, action)| {
            flow.step(format!("s{number}"), *action)
        });
        Arc::new(whole.build().unwrap())
    };
    let flows = [
        flow("project-a", &["git.push"]),
        flow("project-b", &["git.push", "http.request", "git.push"]),
        flow("deploy", &["command.run", "git.push", "z.last"]),
        flow("deploy_x", &["gitXpush"]),
    ];
    for flow in &flows {
        scene.store.publish(flow).await.unwrap();
    }
    let table = [
        lists(None, None),
        lists(Some(""), None),
        lists(None, Some("")),
        lists(Some("project-*"), None),
        lists(Some("project-a,deploy_*"), None),
        lists(Some("deploy.x,*_x"), Some("git.*")),
        lists(Some("p%,_roject-a"), None),
        lists(None, Some("git.*")),
        lists(None, Some("git.push,*.re*st")),
        lists(Some("*"), Some("*.*")),
        lists(Some("d*y"), Some("*r*n,z.last,git.push")),
    ];
    for allow in table {
        let limits = QueueLimits {
            allow: allow.clone(),
            ..QueueLimits::default()
        };
        scene.store.set_queue("line", limits, false).await.unwrap();
        for flow in &flows {
            let expect = allow
                .check(flow, &ListOwner::Queue("line".to_owned()))
                .map_err(|refusal| refusal.to_string());
            let submitted = sql
                .query("SELECT surefoot.submit($1)", &[&flow.name()])
                .await;
            let submitted = submitted.map(drop).map_err(|error| {
                let error = error.as_db_error().unwrap();
                assert_eq!(error.code().code(), "42501");
                error.message().to_owned()
            });
            assert_eq!(submitted, expect, "{} with {allow:?}", flow.name());
            let client = scene.client().submit(Submit::new(flow.clone())).await;
            let client = client.map(drop).map_err(|error| {
                assert!(matches!(error, SubmitError::Store(_)), "{error:?}");
                error.to_string()
            });
            assert_eq!(client, expect, "{} by a client", flow.name());
        }
    }
}

#[tokio::test]
async fn the_same_request_again_gives_its_run_whatever_the_list() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let shop = crate::support::shop("abc");
    let first = crate::support::submit(&sql, &shop, ", 'k'").await.unwrap();
    let limits = QueueLimits {
        allow: lists(Some("other"), None),
        ..QueueLimits::default()
    };
    scene.store.set_queue("shops", limits, false).await.unwrap();
    let again = crate::support::submit(&sql, &shop, ", 'k'").await;
    assert_eq!(again, Ok(first));
    let other = crate::support::submit(&sql, &crate::support::shop("xyz"), ", 'l'").await;
    assert_eq!(
        other.unwrap_err(),
        "42501 queue `shops` does not permit workflow `shop` (permitted: other)"
    );
}
