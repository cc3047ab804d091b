//! The README is true: its workflow runs, and its Rust example is the one that is built.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]

#[path = "common/mod.rs"]
#[expect(
    dead_code,
    reason = "each test binary uses its part of what they share"
)]
mod common;

use common::{Place, text};

const README: &str = include_str!("../README.md");
const EXAMPLE: &str = include_str!("../examples/typed-steps/src/main.rs");

/// The first block of code in that language.
fn block(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let rest = &README[README.find(&begin).expect("the block") + begin.len()..];
    &rest[..rest.find("```").expect("its end")]
}

#[test]
fn the_workflow_of_the_readme_runs() {
    let place = Place::new();
    std::fs::write(place.path("greet.yaml"), block("yaml")).expect("written");
    let output = place.expect(0, &["run", "greet.yaml", "-p", "name=ada"]);
    let run = place.json(&["runs", "--json"])[0].clone();
    let statuses = run["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| step["status"].clone());
    assert_eq!(
        statuses.collect::<Vec<_>>(),
        ["completed", "skipped", "completed"],
        "{}",
        text(&output)
    );
    let logs = place.expect(0, &["logs", run["id"].as_str().expect("id")]);
    assert!(text(&logs).contains("hello ada"), "{}", text(&logs));
    let refused = place.expect(2, &["run", "greet.yaml", "-p", "name=Ada"]);
    assert!(text(&refused).contains("name"), "{}", text(&refused));
}

#[test]
fn the_rust_example_of_the_readme_is_the_one_that_is_built() {
    let code = EXAMPLE
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(block("rust").trim(), code.trim());
}
