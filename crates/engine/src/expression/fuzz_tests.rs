//! Fuzzing of expressions. Their work is bounded by the engine's fuel.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use surefoot_fuzz::{Grammar, fuzz, mutate_text};

use super::{Scope, StepScope, render, render_value, split_expressions, truthy};
use crate::limits::{MAX_VALUE_BYTES, check_condition, check_text, check_value};

const EXPRESSIONS: &[&str] = &[
    "&& ",
    "|| ",
    "== ",
    "!",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "'",
    "\"",
    ".",
    ",",
    "|",
    "~",
    "**",
    "not ",
    "in ",
    "is ",
    "if ",
    "else ",
    "parameters.",
    "steps.s-1.",
    "toJSON(",
    "fromJSON(",
    "format(",
    "contains(",
    "range(",
    "}}",
    "${{",
];

fn scope(parameters: Value) -> Scope {
    let step = |output: Value| StepScope {
        status: "completed",
        output,
    };
    Scope {
        parameters,
        steps: BTreeMap::from([
            (
                "s0".to_owned(),
                step(json!({ "list": [1, "two", null], "n": 1.5 })),
            ),
            ("s-1".to_owned(), step(json!({ "x-y": { "deep": [[[]]] } }))),
        ]),
        run: json!({ "id": "r", "workflow": "w", "key": null }),
    }
}

/// Renders a text in every way that a run does, and checks the size of what comes of it.
fn check_rendering(text: &str, scope: &Scope) {
    let _ = split_expressions(text);
    if check_text(text).is_ok()
        && let Ok(rendered) = render(text, scope)
    {
        assert!(
            rendered.len() <= MAX_VALUE_BYTES,
            "{} bytes",
            rendered.len()
        );
    }
    let value = json!({ "a": [text], "b": text });
    if check_text(text).is_ok()
        && let Ok(rendered) = render_value(&value, scope)
    {
        assert_eq!(check_value(&rendered), Ok(()));
        let again = crate::from_json(&rendered.to_string()).expect("a value can be read");
        assert!(rendered == again, "{rendered} was read back as {again}");
    }
    if check_condition(text).is_ok() {
        let _ = truthy(text, scope);
    }
}

#[test]
fn fuzzed_expressions_give_values_within_the_limits() {
    fuzz("expressions", 1500, |random| {
        let parameters = Grammar { random }.value(2);
        let scope = scope(json!({ "a": parameters, "b": "text", "a b": [3] }));
        let depth = random.below(7);
        let mut grammar = Grammar { random };
        let mut text = match grammar.random.below(3) {
            0 => grammar.text(),
            1 => grammar.expression(depth),
            _ => format!("${{{{ {} }}}}", grammar.expression(depth)),
        };
        if random.chance(30) {
            text = mutate_text(random, &text, EXPRESSIONS);
        }
        check_rendering(&text, &scope);
    });
}
