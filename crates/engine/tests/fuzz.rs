//! Fuzzing of what enters a run: workflow files, stored plans, values, durations; and of the limits
//! of queues.
//!
//! A case fails when it panics, when it overflows a stack of 1 MiB, or when something that was
//! accepted cannot be read back.

use serde_json::{Value, json};
use surefoot::limits::check_value;
use surefoot::workflow::without_secrets;
use surefoot::{Rate, RetentionLimit, Workflow, format_duration, parse_duration};
use surefoot_fuzz::{Grammar, WORKFLOW_WORDS, fuzz, mutate_text};

const SHIPPED: &str = include_str!("../../initializer/workflows/project-initialization.yaml");

const SMALL: &str = "
workflow: small
parameters:
  required: [a]
  properties: { a: { type: string, default: x }, 'a b': { type: integer, default: 1 } }
unique: ${{ parameters.a }}
steps:
  - { id: s0, action: test.work, if: parameters.a == 'x', with: { list: [1, 2.5, '${{ run.id }}'] } }
  - { id: s-1, action: test.work, retry: { attempts: 2, backoff: { fixed: 1s } }, timeout: 2m }
output: { all: '${{ steps.s0.output }}' }
";

/// Reads a value as it is stored.
fn check_read_back(value: &Value) {
    let text = value.to_string();
    let again = surefoot::from_json(&text).expect("what was accepted can be read");
    assert!(*value == again, "{value} was read back as {again}");
    assert!(serde_json::from_str::<Value>(&text).is_ok());
}

/// Checks what every reader of a workflow relies on.
fn check_workflow(workflow: &Workflow) {
    let json = workflow.json();
    let again = Workflow::from_stored(workflow.format(), Workflow::FORMAT, json)
        .expect("a stored plan can be read");
    let read = |json: &str| serde_json::from_str::<Value>(json).expect("a plan is JSON");
    assert!(
        read(again.json()) == read(json),
        "the plan is stored as it was"
    );
    if let Ok(parameters) = workflow.check_parameters(json!({})) {
        let _ = without_secrets(workflow.parameters(), &parameters);
    }
    let _ = workflow.check_parameters(json!({ "a": "x", "list": [1], "b": { "a": null } }));
}

#[test]
fn workflow_files_that_are_generated() {
    fuzz("generated workflow files", 1000, |random| {
        let mut text = Grammar { random }.workflow().to_string();
        if random.chance(30) {
            text = mutate_text(random, &text, WORKFLOW_WORDS);
        }
        for read in [Workflow::from_yaml(&text), Workflow::from_json(&text)] {
            match read {
                Ok(workflow) => check_workflow(&workflow),
                Err(error) => assert!(!error.to_string().is_empty()),
            }
        }
    });
}

#[test]
fn workflow_files_that_are_changed() {
    fuzz("changed workflow files", 800, |random| {
        let corpus = *random.pick(&[SMALL, SMALL, SHIPPED]);
        let text = mutate_text(random, corpus, WORKFLOW_WORDS);
        if let Ok(workflow) = Workflow::from_yaml(&text) {
            check_workflow(&workflow);
        }
    });
}

#[test]
fn stored_plans() {
    let small = Workflow::from_yaml(SMALL).unwrap();
    let shipped = Workflow::from_yaml(SHIPPED).unwrap();
    fuzz("stored plans", 1500, |random| {
        let corpus = *random.pick(&[small.json(), small.json(), shipped.json()]);
        let json = mutate_text(random, corpus, &["{", "}", "[", "\"", ":", ",", "null"]);
        let format = u32::try_from(random.below(3)).unwrap_or(0);
        if let Ok(workflow) = Workflow::from_stored(format, Workflow::FORMAT, &json) {
            assert!(format <= Workflow::FORMAT);
            check_workflow(&workflow);
        }
    });
}

#[test]
fn values() {
    fuzz("values", 3000, |random| {
        let text = Grammar { random }.json_text();
        let Ok(value) = surefoot::from_json(&text) else {
            return;
        };
        if check_value(&value).is_err() {
            return;
        }
        // What is accepted is stored, and read by every reader without a change.
        check_read_back(&value);
        let wrapped = json!([["step.completed", "s0", { "output": value }]]).to_string();
        assert!(serde_json::from_str::<Value>(&wrapped).is_ok());
    });
}

#[test]
fn durations() {
    fuzz("durations", 3000, |random| {
        let mut text = Grammar { random }.duration();
        if random.chance(40) {
            text = mutate_text(random, &text, &["h", "m", "s", " ", "P", "T", "."]);
        }
        if let Ok(duration) = parse_duration(&text) {
            assert_eq!(
                parse_duration(&format_duration(duration)),
                Ok(duration),
                "{text}"
            );
        }
    });
}

#[test]
fn queue_limits() {
    fuzz("limits", 3000, |random| {
        let mut grammar = Grammar { random };
        let text = match grammar.random.below(3) {
            0 => format!("{}/{}", grammar.random.bits(), grammar.duration()),
            1 => format!("{},{}", grammar.duration(), grammar.random.bits()),
            _ => format!("{}/{}", grammar.random.below(9), grammar.duration()),
        };
        let text = mutate_text(random, &text, &["/", ",", "s", "none"]);
        if let Ok(rate) = text.parse::<Rate>() {
            assert_eq!(rate.to_string().parse(), Ok(rate), "{text}");
        }
        if let Ok(limit) = text.parse::<RetentionLimit>() {
            assert_eq!(limit.to_string().parse(), Ok(limit), "{text}");
        }
    });
}
