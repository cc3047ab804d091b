//! A watcher of a run misses nothing, whatever happens to the server meanwhile.

use serde_json::json;

use crate::common::Place;
use crate::common::server::{Events, Server, check_whole, free_port, last, logged};

/// Two steps; the second waits until the test releases it.
const WATCHED: &str = r#"
workflow: watched
steps:
  - id: one
    action: command.run
    with: { shell: 'echo one is done' }
  - id: two
    action: command.run
    with: { shell: 'echo two begins; until [ -e "$LEDGER" ]; do sleep 0.02; done; echo two is done' }
"#;

#[test]
fn a_stream_resumes_where_it_was_after_its_server_was_killed_twice() {
    let place = Place::new();
    std::fs::create_dir(place.path("flows")).unwrap();
    std::fs::write(place.path("flows/watched.yaml"), WATCHED).unwrap();
    let port = free_port();
    let start = || Server::start_at(&place, port, &["--workflows", "flows"]);
    let mut server = start();
    let run = server.submit("watched", &json!({}));
    let mut seen = Vec::new();
    for _ in 0..2 {
        let mut events = Events::after(&server, &run, last(&seen));
        seen.extend(events.until(|message| logged(message, "two begins")));
        server.process.kill();
        // Messages in transit still arrive; then the stream is cut off without an end of the run.
        let rest = events.rest();
        assert!(
            rest.iter().all(|message| message.event == "change"),
            "{rest:#?}"
        );
        seen.extend(rest);
        server = start();
    }
    let mut events = Events::after(&server, &run, last(&seen));
    seen.extend(events.until(|message| logged(message, "two begins")));
    std::fs::write(place.path("ledger"), "go on").unwrap();
    seen.extend(events.rest());
    check_whole(&server, &run, &seen);
    let lost = seen
        .iter()
        .filter(|message| message.data["kind"] == "step.interrupted")
        .count();
    assert_eq!(lost, 2, "the stream tells of both recoveries");
    assert_eq!(
        server.metric("surefoot_recoveries_total{queue=\"watched\"}"),
        2.0
    );
    // A browser that reconnects once more learns that nothing is left.
    let (status, ..) = server
        .exchange(
            "GET",
            &format!("/api/v1/runs/{run}/events"),
            &format!("last-event-id: {}\r\n", last(&seen)),
            "",
        )
        .unwrap();
    assert_eq!(status, 204);
}
