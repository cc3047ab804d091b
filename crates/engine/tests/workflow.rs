//! Workflow files: what is read, and how what is wrong is said.

use std::time::Duration;

use serde_json::json;
use surefoot::workflow::{Backoff, OnInterrupt, RetryPolicy};
use surefoot::{Workflow, WorkflowError};

const WHOLE: &str = r#"
workflow: deploy
title: Deploy a service
queue: deploys
parameters:
  type: object
  required: [name]
  properties:
    name: { type: string }
    size: { type: integer, default: 2 }
    nested: { type: object, properties: { deep: { type: boolean, default: true } } }
unique: "${{ parameters.name }}"
output: { url: "${{ steps.build.output.url }}" }
steps:
  - id: build
    title: Build it
    action: command.run
    with: { shell: "make ${{ parameters.name }}" }
    weight: 15
    retry: { attempts: 5, backoff: { exponential: 2s, max: 1m, jitter: 0.5 } }
    timeout: 2m
    on_interrupt: ask
    max_interruptions: 1
  - id: tell_them
    action: http.request
    if: ${{ steps.build.output.ok }}
    retry: { backoff: { fixed: 5s } }
"#;

#[test]
fn every_field_is_read() {
    let workflow = Workflow::from_yaml(WHOLE).unwrap();
    assert_eq!(
        (workflow.name(), workflow.title(), workflow.queue()),
        ("deploy", "Deploy a service", "deploys")
    );
    let build = &workflow.steps()[0];
    let backoff = Backoff {
        initial: Duration::from_secs(2),
        factor: 2,
        max: Duration::from_secs(60),
        jitter: 0.5,
    };
    assert_eq!(
        build.retry,
        RetryPolicy {
            attempts: 5,
            backoff
        }
    );
    assert_eq!(
        (build.weight, build.timeout),
        (15, Some(Duration::from_secs(120)))
    );
    assert_eq!(
        (build.on_interrupt, build.max_interruptions),
        (OnInterrupt::Ask, 1)
    );
    let tell = &workflow.steps()[1];
    assert_eq!(
        (
            tell.title.as_str(),
            tell.retry.attempts,
            tell.retry.backoff.factor
        ),
        ("Tell them", 3, 1)
    );
    assert_eq!(
        tell.condition.as_deref(),
        Some("${{ steps.build.output.ok }}")
    );
}

#[test]
fn words_that_yaml_once_took_for_booleans_are_words() {
    let workflow =
        Workflow::from_yaml("workflow: w\nsteps: [{ id: a, action: x, with: [y, no, on, true] }]")
            .unwrap();
    assert_eq!(workflow.steps()[0].with, json!(["y", "no", "on", true]));
}

#[test]
fn a_plan_read_back_is_the_same_plan() {
    let workflow = Workflow::from_yaml(WHOLE).unwrap();
    let again = Workflow::from_json(workflow.json()).unwrap();
    assert_eq!(again, workflow);
    assert_eq!(again.digest(), workflow.digest());
}

#[test]
fn defaults_apply_at_any_depth_where_the_object_is_given() {
    let workflow = Workflow::from_yaml(WHOLE).unwrap();
    let check = |given, expect| assert_eq!(workflow.check_parameters(given), Ok(expect));
    check(json!({ "name": "x" }), json!({ "name": "x", "size": 2 }));
    check(
        json!({ "name": "x", "nested": {} }),
        json!({ "name": "x", "nested": { "deep": true }, "size": 2 }),
    );
}

#[test]
fn what_is_wrong_with_a_secret_is_said_without_it() {
    let workflow = Workflow::builder("w")
        .parameters(json!({
            "$defs": { "secret": { "writeOnly": true, "pattern": "^[a-z]+$" } },
            "properties": {
                "password": { "$ref": "#/$defs/secret" },
                "database": { "minProperties": 3, "properties": { "key": { "type": "string", "format": "password" } } },
                "size": { "type": "integer" },
            },
            "not": { "required": ["size"] },
        }))
        .step("only", "work")
        .build()
        .unwrap();
    let check = |given: serde_json::Value, expect: &[&str]| {
        let errors = workflow.check_parameters(given).unwrap_err();
        let said = errors.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(said.iter().all(|text| !text.contains("hunter")), "{said:?}");
        for part in expect {
            assert!(
                said.iter().any(|text| text.contains(part)),
                "{said:?} has not {part}"
            );
        }
    };
    check(
        json!({ "password": "hunter22" }),
        &["parameter password: the value does not match \"^[a-z]+$\""],
    );
    check(
        json!({ "database": { "key": ["hunter22"] } }),
        &["database/key: the value is not of type", "database: "],
    );
    check(
        json!({ "size": "big", "password": "hunter" }),
        &["size: \"big\" is not of type", "(all): "],
    );
}

#[test]
fn what_cannot_be_read_is_named_by_line_and_column() {
    let check = |text: &str, place: (u64, u64), expect: &str| match Workflow::from_yaml(text)
        .unwrap_err()
    {
        WorkflowError::Syntax {
            line,
            column,
            message,
        } => {
            assert_eq!((line, column), place, "{message}");
            assert!(message.contains(expect), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
        other => panic!("{other}"),
    };
    check(
        "workflow: w\nsteps:\n  - id: a\n    acton: x\n",
        (4, 5),
        "acton",
    );
    check("workflow: w\nsteps: [\n", (2, 8), "unclosed");
    check(
        "workflow: w\nsteps:\n  - id: a\n    action: x\n    weight: heavy\n",
        (5, 13),
        "",
    );
    check(
        "workflow: w\nsteps:\n  - id: a\n    action: x\n    on_interrupt: maybe\n",
        (5, 19),
        "maybe",
    );
}

#[test]
fn what_does_not_hold_together_is_named_by_step_and_field() {
    let step = |rest: &str| {
        format!(
            "workflow: w\nparameters: {{ properties: {{ name: {{}} }} }}\nsteps:\n  - {{ id: a, action: x }}\n  - {{ {rest} }}\n"
        )
    };
    let check = |text: &str, expect: &str| {
        let error = Workflow::from_yaml(text).unwrap_err().to_string();
        assert!(error.contains(expect), "{error}");
    };
    check("workflow: w\nsteps: []\n", "steps: has 0 steps");
    check(
        "workflow: '../w'\nsteps: []\n",
        "workflow `../w`: is not a name",
    );
    check(
        &step("id: a, action: x"),
        "step a: another step has this id",
    );
    check(
        &step("id: b, action: x, timeout: soon"),
        "step b, field timeout: `soon` is not a duration",
    );
    check(
        &step("id: b, action: x, retry: { attempts: 0 }"),
        "step b, field retry.attempts: is 0",
    );
    check(
        &step("id: b, action: x, retry: { backoff: { fixed: 1s, exponential: 1s } }"),
        "keep one",
    );
    check(
        &step("id: b, action: x, with: '${{ parameters.nmae }}'"),
        "`parameters.nmae` names no parameter of this workflow; it has `name`",
    );
    check(
        &step("id: b, action: x, with: '${{ steps.c.output }}'"),
        "names no step before this one; there is `a`",
    );
    check(
        &step("id: b, action: x, with: '${{ secrets.token }}'"),
        "expressions see `parameters`, `steps` and `run`",
    );
    check(
        &step("id: b, action: x, with: '${{ parameters.name | }}'"),
        "step b, field with: the expression ends too early",
    );
    check(
        &step("id: b, action: x, if: 'steps.b.output'"),
        "step b, field if: `steps.b.output` names no step before",
    );
    check(
        "workflow: w\nparameters: { type: strnig }\nsteps: [{ id: a, action: x }]\n",
        "field parameters",
    );
}

#[test]
fn a_wait_grows_is_capped_and_spreads_to_both_sides() {
    let backoff = Backoff {
        initial: Duration::from_secs(1),
        factor: 2,
        max: Duration::from_secs(10),
        jitter: 0.2,
    };
    let policy = RetryPolicy {
        attempts: 9,
        backoff,
    };
    let check = |attempt, random, expect| {
        assert_eq!(
            policy.delay(attempt, random),
            Duration::from_secs_f64(expect)
        )
    };
    check(1, 0.5, 1.0);
    check(3, 0.5, 4.0);
    check(2, 0.0, 1.6);
    check(2, 1.0, 2.4);
    check(5, 1.0, 10.0);
    check(4_000_000_000, 0.5, 10.0);
}
