//! `surefoot alerts` beside a live server: firing alerts are listed and can be acknowledged.

use serde_json::json;

use crate::common::server::Server;
use crate::common::{Place, lines, text, until};

const ASKS: &str = "
workflow: asks
steps:
  - { id: go, action: approval, with: { question: 'go on?' } }
";

#[test]
fn alerts_are_listed_and_acknowledged_on_the_command_line() {
    let place = Place::new();
    std::fs::create_dir_all(place.data()).unwrap();
    std::fs::create_dir(place.path("flows")).unwrap();
    std::fs::write(place.path("flows/asks.yaml"), ASKS).unwrap();
    let pager = place.path("pager");
    let config = format!(
        "[alerts]\nevery = '100ms'\n[alerts.rules]\nslow_store = false\n[alerts.notifiers.pager]\nkind = 'command'\n\
         command = ['sh', '-c', 'echo \"$SUREFOOT_ALERT_STATE $SUREFOOT_ALERT_RULE\" >> {}']\n",
        pager.display()
    );
    std::fs::write(place.data().join("surefoot.toml"), config).unwrap();
    let server = Server::start(&place, &["--workflows", "flows"]);
    let none = place.expect(0, &["alerts"]);
    assert!(text(&none).contains("no alert fires"), "{}", text(&none));
    let run = server.submit("asks", &json!({}));
    let id = format!("answer/{run}");
    let alert = until("it fires", || {
        place
            .json(&["alerts", "--json"])
            .as_array()
            .unwrap()
            .first()
            .cloned()
    });
    assert_eq!(
        (&alert["id"], &alert["state"], &alert["run"]),
        (&json!(id), &json!("firing"), &json!(run))
    );
    assert!(alert["acknowledged_by"].is_null(), "{alert}");
    let table = text(&place.expect(0, &["alerts"]));
    assert!(table.contains(&id) && table.contains("firing"), "{table}");

    let unknown = place.expect(2, &["alerts", "ack", "answer/absent"]);
    assert!(
        text(&unknown).contains("there is no alert `answer/absent`"),
        "{}",
        text(&unknown)
    );
    assert!(
        text(&unknown).contains("`surefoot alerts` lists them"),
        "{}",
        text(&unknown)
    );
    let seen = place.json(&["alerts", "ack", &id, "--json"]);
    let by = seen["acknowledged_by"].as_str().expect("a name").to_owned();
    let shown = server.json("/api/v1/alerts?state=firing");
    assert_eq!(
        shown["alerts"][0]["acknowledged_by"],
        by.as_str(),
        "the server knows of it"
    );
    let audit = server.json("/api/v1/audit");
    let entry = audit["entries"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["action"] == "alert.acknowledge");
    assert_eq!(
        entry.expect("it is in the audit log")["actor"],
        by.as_str(),
        "{audit:#}"
    );

    until("the pager is notified", || {
        (lines(&pager) == ["firing answer"]).then_some(())
    });
    server.post(
        200,
        &format!("/api/v1/runs/{run}/answer"),
        &json!({ "step": "go", "answer": "approve" }),
    );
    until("it is resolved", || {
        (place.json(&["alerts", "--json"])[0]["state"] == "resolved").then_some(())
    });
    let over = place.expect(2, &["alerts", "ack", &id]);
    assert!(text(&over).contains("is resolved"), "{}", text(&over));
    until("the pager is notified of the end", || {
        (lines(&pager).len() >= 2).then_some(())
    });
    assert_eq!(
        lines(&pager),
        ["firing answer", "resolved answer"],
        "acknowledging sends nothing"
    );
}
