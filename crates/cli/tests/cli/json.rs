//! The fields of `--json`, in their order: scripts rely on them.

use serde_json::Value;

use crate::place::Place;

const WORKFLOW: &str = "workflow: demo\nqueue: lane\nsteps:\n  \
    - { id: hello, title: Say hello, action: command.run, with: { shell: 'echo hello; echo 7 > $SUREFOOT_OUTPUT' } }\n  \
    - { id: never, action: sleep, if: 'false', with: { duration: 1ms } }\n";

fn keys(object: &Value) -> Vec<&str> {
    object
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn is_time(value: &Value) -> bool {
    // 2026-05-04T09:30:00.000000Z
    value
        .as_str()
        .is_some_and(|text| text.len() == 27 && text.ends_with('Z') && text.as_bytes()[19] == b'.')
}

fn place_with_a_run() -> Place {
    let place = Place::new();
    place.write("w.yaml", WORKFLOW);
    let ran = place.run(&["run", "w.yaml", "--key", "k"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    place
}

#[test]
fn show_gives_the_documented_shape() {
    let place = place_with_a_run();
    let run = place.json(&["show", "k"]);
    let fields = [
        "id",
        "workflow",
        "key",
        "queue",
        "status",
        "progress",
        "created_at",
        "started_at",
        "completed_at",
        "error",
        "requires",
        "steps",
    ];
    assert_eq!(keys(&run), fields);
    let fields = [
        "id",
        "title",
        "action",
        "status",
        "progress",
        "message",
        "attempt",
        "interruptions",
        "started_at",
        "completed_at",
        "error",
        "output",
        "undo",
        "undo_note",
        "crashes",
        "isolation",
    ];
    assert_eq!(keys(&run["steps"][0]), fields);
    assert_eq!(
        (&run["key"], &run["queue"], &run["status"]),
        (&"k".into(), &"lane".into(), &"completed".into())
    );
    assert_eq!(
        (&run["progress"], &run["error"]),
        (&100.into(), &Value::Null)
    );
    assert!(
        is_time(&run["created_at"]) && is_time(&run["started_at"]) && is_time(&run["completed_at"]),
        "{run}"
    );
    let hello = &run["steps"][0];
    let never = &run["steps"][1];
    assert_eq!(
        (&hello["title"], &hello["attempt"], &hello["output"]),
        (&"Say hello".into(), &1.into(), &7.into())
    );
    assert_eq!(
        (&never["status"], &never["started_at"], &never["output"]),
        (&"skipped".into(), &Value::Null, &Value::Null)
    );
}

#[test]
fn runs_gives_the_same_shape_and_its_filters_hold() {
    let place = place_with_a_run();
    assert_eq!(place.json(&["runs"])[0], place.json(&["show", "k"]));
    let count = |args: &[&str]| {
        place
            .json(&[&["runs"], args].concat())
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(
        count(&[
            "--status",
            "completed",
            "--workflow",
            "demo",
            "--queue",
            "lane"
        ]),
        1
    );
    assert_eq!(
        count(&["--status", "failed"])
            + count(&["--workflow", "other"])
            + count(&["--queue", "demo"]),
        0
    );
}

#[test]
fn a_run_is_found_by_id_by_its_beginning_and_by_key() {
    let place = place_with_a_run();
    let id = place.json(&["show", "k"])["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for name in [&id, &id[..8], &id[..20]] {
        assert_eq!(place.json(&["show", name])["id"], id, "{name}");
    }
    assert_eq!(place.run(&["show", &id[..7]]).status, 2);
}

#[test]
fn run_and_init_end_with_the_run_as_json() {
    let place = place_with_a_run();
    assert_eq!(
        place.json(&["run", "w.yaml", "--key", "k"]),
        place.json(&["show", "k"])
    );
    assert_eq!(place.json(&["watch", "k"]), place.json(&["show", "k"]));
}

#[test]
fn submit_gives_the_run_once_as_it_is_handed_over_or_as_it_ends() {
    let place = place_with_a_run();
    assert_eq!(
        place.json(&["submit", "w.yaml", "--key", "other"])["status"],
        "queued"
    );
    let ended = place.json(&["submit", "w.yaml", "--key", "other", "--wait"]);
    assert_eq!(
        (&ended["status"], &ended),
        (&"completed".into(), &place.json(&["show", "other"]))
    );
}

#[test]
fn logs_are_one_object_a_line() {
    let place = place_with_a_run();
    let line = place.json(&["logs", "k"]);
    assert_eq!(keys(&line), ["at", "step", "attempt", "line"]);
    assert_eq!(
        (&line["step"], &line["line"]),
        (&"hello".into(), &"hello".into())
    );
}

#[test]
fn queues_and_records_have_their_fields() {
    let place = place_with_a_run();
    let set = [
        "queue",
        "set",
        "lane",
        "--rate",
        "5/1s",
        "--keep-failed",
        "30d,10",
        "--concurrency",
        "2",
    ];
    let fields = [
        "name",
        "paused",
        "queued",
        "waiting",
        "running",
        "concurrency",
        "concurrency_per_key",
        "rate",
        "keep_completed",
        "keep_failed",
        "keep_cancelled",
        "workflows",
        "actions",
    ];
    let queue = place.json(&set);
    assert_eq!(keys(&queue), fields);
    assert_eq!(
        (&queue["rate"], &queue["keep_failed"], &queue["concurrency"]),
        (&"5/1s".into(), &"30d,10".into(), &2.into())
    );
    assert_eq!(
        place.json(&["queue", "set", "lane", "--rate", "none"])["rate"],
        Value::Null
    );
    assert_eq!(place.run(&["init", "shop"]).status, 0);
    let records = place.json(&["records", "--kind", "project"]);
    assert_eq!(
        keys(&records[0]),
        ["kind", "name", "run", "data", "created_at", "updated_at"]
    );
    assert_eq!(
        place
            .json(&["records", "--run", "shop"])
            .as_array()
            .unwrap()
            .len(),
        5
    );
}
