//! Allow-lists on the command line: of queues, of this worker and of tokens.

use serde_json::json;

use crate::place::{Place, eventually};

fn flow(name: &str) -> String {
    format!(
        "workflow: {name}\nqueue: q\nsteps: [{{ id: a, action: sleep, with: {{ duration: 1ms }} }}]\n"
    )
}

/// A place with the files of two workflows of the queue `q`, and this configuration.
fn place(configuration: &str) -> Place {
    let place = Place::new();
    std::fs::create_dir(place.data()).unwrap();
    std::fs::write(place.data().join("surefoot.toml"), configuration).unwrap();
    for name in ["deploy", "project-a"] {
        place.write(&format!("{name}.yaml"), &flow(name));
    }
    place
}

#[test]
fn a_queue_refuses_what_it_does_not_permit_before_anything_is_stored() {
    let place = place("");
    let refused = |args: &[&str], expect: &str| {
        let set = [&["queue", "set", "q"], args].concat();
        assert_eq!(place.run(&set).status, 0, "{args:?}");
        for command in ["submit", "run"] {
            let ran = place.run(&[command, "deploy.yaml"]);
            assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{command}");
            let line = ran.stderr.lines().next().unwrap_or_default();
            assert_eq!(line, format!("error: queue `q` does not permit {expect}"));
            assert!(ran.stderr.contains("surefoot queue set"), "{}", ran.stderr);
        }
        assert_eq!(place.json(&["runs"]), json!([]));
    };
    refused(
        &["--workflows", "project-*"],
        "workflow `deploy` (permitted: project-*)",
    );
    assert_eq!(
        place.run(&["run", "project-a.yaml", "--key", "k"]).status,
        0
    );
    let place_runs = place.json(&["runs"]);
    assert_eq!(place_runs.as_array().unwrap().len(), 1);

    let set = place.json(&["queue", "set", "q", "--actions", "git.*,http.request"]);
    assert_eq!(
        set["workflows"],
        json!(["project-*"]),
        "what is not named stays"
    );
    assert_eq!(set["actions"], json!(["git.*", "http.request"]));
    let table = place.run(&["queues"]).stdout;
    let permits = "workflows project-*; actions git.*, http.request";
    assert!(
        table.contains("PERMITS") && table.contains(permits),
        "{table}"
    );
    let again = place.run(&["run", "project-a.yaml", "--key", "k"]);
    assert_eq!(again.status, 0, "the same request again: {}", again.stderr);

    let none = place.json(&[
        "queue",
        "set",
        "q",
        "--actions",
        "none",
        "--workflows",
        "none",
    ]);
    assert_eq!(
        (&none["workflows"], &none["actions"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(place.run(&["run", "deploy.yaml"]).status, 0);
    let odd = place.run(&["queue", "set", "q", "--actions", "a b"]);
    assert_eq!(odd.status, 2);
    assert!(
        odd.stderr.contains("is not an entry of an allow-list"),
        "{}",
        odd.stderr
    );
}

#[test]
fn an_empty_list_permits_nothing() {
    let place = place("");
    assert_eq!(
        place.run(&["queue", "set", "q", "--workflows", ""]).status,
        0
    );
    let ran = place.run(&["submit", "project-a.yaml"]);
    assert_eq!(ran.status, 2);
    let expect = "queue `q` does not permit workflow `project-a` (permitted: none)";
    assert!(ran.stderr.contains(expect), "{}", ran.stderr);
}

#[test]
fn the_configuration_file_gives_a_queue_its_lists() {
    let place = place("[queues.q]\nworkflows = ['project-*']\nactions = ['sleep']\n");
    assert_eq!(place.run(&["run", "project-a.yaml"]).status, 0);
    let ran = place.run(&["submit", "deploy.yaml"]);
    assert_eq!(ran.status, 2);
    assert!(
        ran.stderr.contains("(permitted: project-*)"),
        "{}",
        ran.stderr
    );
}

#[test]
fn a_worker_leaves_what_it_does_not_permit_and_says_so() {
    for (lists, expect) in [
        ("workflows = ['project-*']", "workflow deploy"),
        ("actions = ['git.*']", "knows and permits sleep"),
    ] {
        let place = place(&format!("[worker]\n{lists}\n"));
        let ran = place.run(&["run", "deploy.yaml"]);
        assert_eq!((ran.status, ran.stdout.as_str()), (2, ""), "{lists}");
        let words = "error: this worker does not permit";
        assert!(ran.stderr.starts_with(words), "{}", ran.stderr);
        // A submission to the store waits for a worker that permits it.
        let submitted = place.run(&["submit", "deploy.yaml", "--key", "k"]);
        assert_eq!(submitted.status, 0, "{}", submitted.stderr);
        let _worker = place.start(&["worker"]);
        eventually(expect, || {
            let shown = place.run(&["show", "k"]).stdout;
            shown.contains(expect).then_some(())
        });
        let doctor = place.run(&["doctor"]).stdout;
        assert!(
            doctor.contains("1 run of deploy held back"),
            "{lists}: {doctor}"
        );
    }
}

#[test]
fn lists_that_are_none_are_refused_with_their_line() {
    for (configuration, line) in [
        ("[worker]\nactions = ['a b']\n", "surefoot.toml:2:"),
        ("[auth.roles.viewer]\nworkflows = []\n", "surefoot.toml:1:"),
        ("[auth.roles.operator]\nworkflow = []\n", "surefoot.toml:2:"),
        ("[queues.q]\nworkflows = [1]\n", "surefoot.toml:2:"),
    ] {
        let ran = place(configuration).run(&["runs"]);
        assert_eq!(ran.status, 2, "{configuration}: {}", ran.stderr);
        assert!(ran.stderr.contains(line), "{configuration}: {}", ran.stderr);
    }
}

#[test]
fn a_token_shows_its_lists() {
    let place = place("");
    let create = ["token", "create", "ci", "--role", "operator"];
    let lists = [
        "--workflows",
        "project-*",
        "--actions",
        "git.*,http.request",
    ];
    let made = place.json(&[&create[..], &lists].concat());
    let expect = (json!(["project-*"]), json!(["git.*", "http.request"]));
    assert_eq!((made["workflows"].clone(), made["actions"].clone()), expect);
    place.json(&["token", "create", "boss", "--role", "admin"]);
    let listed = place.run(&["token", "list"]).stdout;
    assert!(
        listed.contains("project-*  git.*, http.request"),
        "{listed}"
    );
    let tokens = place.json(&["token", "list"]);
    assert_eq!(tokens[0]["workflows"], json!(null), "{tokens}");
}
