//! Whatever text the limits accept is parsed, compiled, rendered and dropped within the 2 MB stack
//! of a worker's thread.

use serde_json::{Value, json};

use super::{Scope, render, render_value, truthy};
use crate::Workflow;
use crate::limits::{MAX_EXPRESSION_BYTES, MAX_EXPRESSION_DEPTH, check_condition};

/// A worker's thread has 2 MB. Half of it is for the frames above the expression, and for builds
/// without optimisation.
const STACK: usize = 1 << 20;

fn on_small_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::Builder::new()
        .stack_size(STACK)
        .spawn(work)
        .expect("a thread can be started")
        .join()
        .expect("the work does not panic")
}

fn scope() -> Scope {
    let deep = (0..60).fold(json!("x"), |inside, _| json!([inside]));
    Scope {
        parameters: json!({ "a": { "a": 1 }, "n": 1, "deep": deep }),
        ..Scope::default()
    }
}

/// The longest chain of a link that the limits accept, between a beginning and an end.
fn longest(begin: &str, link: &str, end: &str) -> String {
    let chain = |count: usize| format!("{begin}{}{end}", link.repeat(count));
    let fits = |count: &usize| check_condition(&chain(*count)).is_ok();
    let count = (1..=MAX_EXPRESSION_DEPTH.max(MAX_EXPRESSION_BYTES / link.len()))
        .take_while(fits)
        .last();
    chain(count.unwrap_or_else(|| panic!("not even one `{link}` is accepted")))
}

fn worst() -> Vec<String> {
    let prefixed = [
        "-",
        "not ",
        "(",
        "[",
        "{1: ",
        "(1, ",
        "[1, ",
        "dict(a=",
        "range(",
        "1 + ",
        "1 ~ ",
        "1 ** ",
        "1 == ",
        "1 and ",
        "1 or ",
        "1 if 0 else ",
        "1 in [1], ",
        "parameters[",
        "not (-[",
        "1 if (",
        "-(not ",
        "(1 if 1 else (",
    ];
    let suffixed = [
        "|abs",
        ".a",
        "[0]",
        "[0:1]",
        "()",
        " is none",
        " is not none",
        " if 1",
        " - 1",
        "|default(1)",
        "|map('abs')|list",
        "|batch(1)|list",
        "|string",
        "|tojson",
        " if 1 else 2",
        "|default([1, 2, [3]])",
    ];
    let close = |text: String| {
        let mut open = Vec::new();
        for letter in text.chars() {
            match letter {
                '(' => open.push(')'),
                '[' => open.push(']'),
                '{' => open.push('}'),
                ')' | ']' | '}' => drop(open.pop()),
                _ => {}
            }
        }
        format!("{text}{}", open.into_iter().rev().collect::<String>())
    };
    let before = prefixed.iter().flat_map(|link| {
        let text = longest("", link, "1");
        [close(text.clone()), text]
    });
    let after = suffixed.iter().flat_map(|link| {
        ["1", "parameters.n", "parameters.deep", "[[1]]"].map(|begin| longest(begin, link, ""))
    });
    before.chain(after).collect()
}

#[test]
fn the_worst_accepted_texts_need_little_stack() {
    for text in worst() {
        on_small_stack(move || {
            // A value or an error: both are fine, an overflow would end the process.
            let _ = truthy(&text, &scope());
            let _ = render(&format!("${{{{ {text} }}}} b"), &scope());
            let _ = render_value(&json!(format!("${{{{ {text} }}}}")), &scope());
            let workflow = json!({ "workflow": "w", "steps": [{ "id": "s", "action": "a", "if": text, "with": { "x": format!("${{{{ {text} }}}}") } }] });
            let _ = Workflow::from_json(&workflow.to_string());
        });
    }
}

#[test]
fn a_chain_that_would_overflow_is_refused_by_every_reader() {
    for link in ["-", "not ", "1 + ", "(", "1 if 1 else "] {
        let text = format!("{}1", link.repeat(6000));
        let expect = |error: String| {
            assert!(error.contains("split it") && error.len() < 500, "{error}");
        };
        expect(truthy(&text, &scope()).unwrap_err().to_string());
        expect(
            render(&format!("a ${{{{ {text} }}}}"), &scope())
                .unwrap_err()
                .to_string(),
        );
        expect(
            render_value(&json!([format!("${{{{ {text} }}}}")]), &scope())
                .unwrap_err()
                .to_string(),
        );
        let step = |step: Value| json!({ "workflow": "w", "steps": [step] }).to_string();
        let condition = step(json!({ "id": "s", "action": "a", "if": text }));
        expect(Workflow::from_json(&condition).unwrap_err().to_string());
        let with = step(
            json!({ "id": "s", "action": "a", "with": { "x": format!("${{{{ {text} }}}}") } }),
        );
        expect(Workflow::from_yaml(&with).unwrap_err().to_string());
        expect(
            Workflow::builder("w")
                .unique(format!("${{{{ {text} }}}}"))
                .step("s", "a")
                .build()
                .unwrap_err()
                .to_string(),
        );
    }
}

#[test]
fn what_an_expression_gives_is_limited() {
    let check = |text: &str, expect: &str| {
        let rendered = render_value(&json!(format!("${{{{ {text} }}}}")), &scope());
        let error = rendered
            .map(|value| value.to_string().len())
            .unwrap_err()
            .to_string();
        assert!(error.contains(expect), "{text}: {error}");
        let error = render(&format!("x ${{{{ {text} }}}}"), &scope())
            .map(|text| text.len())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(expect) || error.contains("MiB"),
            "{text}: {error}"
        );
    };
    check(
        "range(100000)|list|map('string')|list|tojson(indent=1000000)",
        "at most 16",
    );
    check(
        "[[[1] * 1000] * 1000] * 1000",
        "a list or an object has no product",
    );
    let large = format!("[{}]", ["'x' * 1000000"; 20].join(", "));
    for filter in ["", "|string", "|tojson", "|pprint"] {
        check(&format!("{large}{filter}"), "MiB");
    }
    check("'x' * 20000000", "MiB");
    let deep = format!("{}parameters.deep{}", "[".repeat(10), "]".repeat(10));
    let error = render_value(&json!(format!("${{{{ {deep} }}}}")), &scope())
        .unwrap_err()
        .to_string();
    assert!(error.contains("nested more than 64 levels"), "{error}");
}
