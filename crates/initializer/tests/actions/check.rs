//! A workflow with a wrong field name is refused before it runs.

use serde_json::{Value, json};
use surefoot_initializer::actions::handlers;

#[test]
fn every_action_refuses_unknown_and_missing_fields() {
    let check = |action: &str, with: Value, expect: &str| {
        let answer = handlers()
            .get(action)
            .unwrap()
            .check(&with)
            .err()
            .unwrap_or_default();
        assert!(
            if expect.is_empty() {
                answer.is_empty()
            } else {
                answer.contains(expect)
            },
            "{action} {with}: {answer}"
        );
    };
    check(
        "command.run",
        json!({ "shell": "true", "env": {}, "cwd": ".", "credentials": {} }),
        "",
    );
    check(
        "command.run",
        json!({ "argv": "${{ parameters.argv }}" }),
        "",
    );
    check(
        "command.run",
        json!({}),
        "one of the fields `shell`, `argv` is missing",
    );
    check(
        "command.run",
        json!({ "shell": "x", "argv": ["x"] }),
        "only one of",
    );
    check(
        "http.request",
        json!({ "method": "GET" }),
        "field `url` is missing",
    );
    check(
        "http.request",
        json!({ "url": "x", "json": 1, "body": "" }),
        "only one of",
    );
    check(
        "file.write",
        json!({ "path": "x" }),
        "one of the fields `content`, `json` is missing",
    );
    check(
        "template.render",
        json!({ "from": "x" }),
        "field `to` is missing",
    );
    check(
        "git.clone",
        json!({ "url": "x", "branch": "y" }),
        "unknown field `branch`",
    );
    check("git.commit", Value::Null, "field `message` is missing");
    check("git.push", Value::Null, "");
    check(
        "sleep",
        json!({ "seconds": 1 }),
        "unknown field `seconds`: the action takes `duration`",
    );
    check("approval", json!({ "message": "go?" }), "");
}

#[test]
fn no_action_takes_a_field_that_is_not_its_own() {
    for action in handlers().actions() {
        let answer = handlers()
            .get(&action)
            .unwrap()
            .check(&json!({ "no_such_field": 1 }));
        assert!(
            answer.is_err_and(|error| error.contains("no_such_field")),
            "{action}"
        );
    }
}
