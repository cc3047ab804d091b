//! A step that must not be repeated automatically, whose worker was lost: a person decides its
//! outcome over HTTP.

use serde_json::{Value, json};

use crate::common::server::Server;
use crate::common::{Place, lines, until};

/// An effect that cannot be looked up, and a step after it.
const ASKS: &str = r#"
workflow: asks
parameters: { type: object, properties: { name: { type: string } } }
steps:
  - id: pay
    action: command.run
    on_interrupt: ask
    with: { shell: 'echo "pay ${{ parameters.name }}" >> "$LEDGER"; until [ -e "$LEDGER.go" ]; do sleep 0.02; done' }
  - id: after
    action: command.run
    with: { shell: 'echo "after ${{ parameters.name }}" >> "$LEDGER"' }
"#;

fn step(run: &Value, position: usize) -> (&Value, &Value) {
    (
        &run["steps"][position]["status"],
        &run["steps"][position]["interruptions"],
    )
}

#[test]
fn an_interrupted_step_is_repeated_skipped_or_failed_by_a_persons_answer() {
    let place = Place::new();
    std::fs::create_dir(place.path("flows")).unwrap();
    std::fs::write(place.path("flows/asks.yaml"), ASKS).unwrap();
    let server = Server::start(&place, &["--workflows", "flows"]);
    let answers = ["rerun", "skip", "fail"];
    let runs = answers.map(|name| server.submit("asks", &json!({ "name": name })));
    let ledger = place.path("ledger");
    until("all have paid", || {
        (lines(&ledger).len() == 3).then_some(())
    });
    server.process.kill();
    std::fs::write(place.path("ledger.go"), "").unwrap();

    let server = Server::start(&place, &["--workflows", "flows"]);
    for (run, answer) in runs.iter().zip(answers) {
        let asks = server.until_status(run, "waiting");
        assert_eq!(asks["steps"][0]["waits_for"], "interrupted", "{asks:#}");
        assert_eq!(asks["steps"][0]["answers"], json!(answers));
        let path = format!("/api/v1/runs/{run}/answer");
        let odd = server.post(409, &path, &json!({ "step": "pay", "answer": "approve" }));
        assert!(odd["detail"].is_string(), "{odd}");
        server.post(
            200,
            &path,
            &json!({ "step": "pay", "answer": answer, "note": "looked at the bank" }),
        );
    }
    let [rerun, skip, fail] = [(0, "completed"), (1, "completed"), (2, "failed")]
        .map(|(number, status)| server.until_status(&runs[number], status));
    assert_eq!(step(&rerun, 0), (&json!("completed"), &json!(1)));
    assert_eq!(step(&skip, 0), (&json!("skipped"), &json!(1)));
    assert_eq!(step(&fail, 0).0, "failed");
    assert_eq!(step(&fail, 1).0, "pending");
    let count = |line: &str| lines(&ledger).iter().filter(|seen| *seen == line).count();
    assert_eq!(
        ["pay rerun", "pay skip", "pay fail"].map(count),
        [2, 1, 1],
        "only what was to run again did"
    );
    assert_eq!(
        ["after rerun", "after skip", "after fail"].map(count),
        [1, 1, 0]
    );
    let history = server.json(&format!("/api/v1/runs/{}/history", runs[1]));
    let said = history["events"]
        .as_array()
        .unwrap()
        .iter()
        .find(|event| event["kind"] == "step.answered")
        .unwrap();
    assert_eq!(
        (&said["data"]["by"], &said["data"]["note"]),
        (&json!("local"), &json!("looked at the bank"))
    );
}
