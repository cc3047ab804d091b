//! A run that cannot be read: every command works beside it, says what is wrong with it, and can
//! cancel it.

use crate::place::Place;

const WORKFLOW: &str =
    "workflow: demo\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n";

/// Changes the store's file behind its back.
fn damage(place: &Place, statement: &str) {
    let conn = rusqlite::Connection::open(place.data().join("surefoot.db")).unwrap();
    conn.execute_batch(statement).unwrap();
}

#[test]
fn one_damaged_run_stops_nothing_and_is_cancelled() {
    let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
    let newer =
        r#"{"workflow": "demo", "sandbox": true, "steps": [{"id": "a", "action": "sleep"}]}"#;
    let chain = format!(
        r#"{{"workflow": "demo", "steps": [{{"id": "a", "action": "sleep", "if": "{}1"}}]}}"#,
        "not ".repeat(100_000)
    );
    for (statement, reason) in [
        (
            format!("UPDATE runs SET parameters = '[{deep}]'"),
            "recursion limit",
        ),
        (
            format!("UPDATE plans SET format = 2, json = '{newer}'"),
            "format 2",
        ),
        (format!("UPDATE plans SET json = '{newer}'"), "sandbox"),
        (format!("UPDATE plans SET json = '{chain}'"), "split it"),
    ] {
        let place = Place::new();
        place.write("w.yaml", WORKFLOW);
        place.write("other.yaml", &WORKFLOW.replace("demo", "other"));
        assert_eq!(place.run(&["submit", "w.yaml", "--key", "bad"]).status, 0);
        damage(&place, &statement);
        let ran = place.run(&["run", "other.yaml", "--key", "good"]);
        assert_eq!(ran.status, 0, "{statement:.80}: {}", ran.stderr);
        let listed = place.run(&["runs"]).stdout;
        assert!(
            listed.contains("completed") && listed.contains("queued, unreadable"),
            "{listed}"
        );
        let all = place.json(&["runs"]);
        assert!(all[0].get("unreadable").is_none(), "{all}");
        assert!(
            all[1]["unreadable"].as_str().unwrap().contains(reason),
            "{all}"
        );
        let shown = place.run(&["show", "bad"]);
        assert!(
            shown.status == 0 && shown.stdout.contains(reason),
            "{shown:?}"
        );
        let found = place.run(&["doctor"]).stdout;
        assert!(found.contains("1 run cannot be read"), "{found}");
        let again = place.run(&["submit", "w.yaml", "--key", "bad"]);
        assert!(
            again.status == 2 && again.stderr.contains("cannot be read by this surefoot"),
            "{again:?}"
        );
        let retried = place.run(&["retry", "bad"]);
        assert!(
            retried.status == 2 && retried.stderr.contains("cannot be read"),
            "{retried:?}"
        );
        let undone = place.run(&["cancel", "bad", "--undo"]);
        assert!(
            undone.status == 2 && undone.stderr.contains("cannot be undone"),
            "{undone:?}"
        );
        place.run(&["cancel", "bad"]);
        assert_eq!(place.json(&["show", "bad"])["status"], "cancelled");
        assert_eq!(
            place.run(&["submit", "w.yaml", "--key", "bad"]).status,
            0,
            "its key is free"
        );
    }
}

#[test]
fn what_is_nested_too_deep_is_refused_where_it_enters() {
    let place = Place::new();
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    place.write("w.yaml", WORKFLOW);
    for levels in [64, 126] {
        let ran = place.run(&["submit", "w.yaml", "-p", &format!("deep={}", deep(levels))]);
        assert!(
            ran.status == 2 && ran.stderr.len() < 1000,
            "{levels}: {ran:?}"
        );
    }
    let shell = format!(
        "shell: 'echo ''{{\"deep\": {}}}'' > \"$SUREFOOT_OUTPUT\"'",
        deep(100)
    );
    place.write(
        "o.yaml",
        &format!(
            "workflow: deep\nsteps: [{{ id: a, action: command.run, with: {{ {shell} }} }}]\n"
        ),
    );
    let ran = place.run(&["run", "o.yaml", "--key", "o"]);
    assert!(
        ran.status == 1
            && ran
                .stderr
                .contains("the step's output is nested more than 64 levels"),
        "{ran:?}"
    );
    assert_eq!(place.json(&["show", "o"])["status"], "failed");
}
