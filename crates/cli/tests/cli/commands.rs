//! Effects and output of the commands for runs.

use crate::place::{Place, eventually, gated, step_is};

#[test]
fn init_says_what_it_made_and_the_same_again_says_so() {
    let place = Place::new();
    let first = place.run(&["init", "shop"]);
    assert_eq!(first.status, 0, "{}", first.stderr);
    for words in [
        "/data/repositories/shop.git",
        "production (2 approvals wanted)",
        "env-staging.yaml",
        "git clone",
        "surefoot show [id]",
    ] {
        assert!(first.stdout.contains(words), "{words}: {}", first.stdout);
    }
    assert!(
        first
            .stderr
            .contains("[  5%] resolve_credentials: completed\n"),
        "{}",
        first.stderr
    );
    let again = place.run(&["init", "shop"]);
    assert_eq!(
        (again.status, again.stderr.as_str()),
        (0, "shop is completed already, by run [id]\n")
    );
    assert_eq!(again.stdout, first.stdout);
}

#[test]
fn a_failed_run_says_what_to_do_and_the_same_command_tries_again() {
    let place = Place::new();
    let flag = place.path().join("flag");
    place.write(
        "w.yaml",
        &format!(
            "workflow: demo\nsteps:\n  - {{ id: a, action: command.run, with: {{ shell: 'echo once >> {0}.ledger' }} }}\n  \
             - {{ id: b, action: command.run, retry: {{ attempts: 1 }}, with: {{ shell: 'echo no flag >&2; test -e {0}' }} }}\n",
            flag.display()
        ),
    );
    let failed = place.run(&["run", "w.yaml", "--key", "k"]);
    assert_eq!(failed.status, 1);
    insta::assert_snapshot!(failed.stderr);
    let retried = place.run(&["retry", "k", "--wait"]);
    assert_eq!(retried.status, 1, "{}", retried.stderr);
    std::fs::write(&flag, "").unwrap();
    let again = place.run(&["run", "w.yaml", "--key", "k"]);
    assert_eq!(again.status, 0);
    insta::assert_snapshot!(again.stderr);
    assert_eq!(
        std::fs::read_to_string(place.path().join("flag.ledger")).unwrap(),
        "once\n"
    );
}

#[test]
fn submit_prints_the_id_alone_and_says_who_carries_on() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n",
    );
    let ran = place.run(&[
        "submit",
        "w.yaml",
        "--key",
        "k",
        "--priority",
        "5",
        "--at",
        "+1ms",
    ]);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "[id]\n"));
    assert!(ran.stderr.contains("surefoot worker"), "{}", ran.stderr);
    let again = place.run(&["submit", "w.yaml", "--key", "k", "--wait"]);
    assert_eq!(
        (again.status, again.stdout.lines().next()),
        (0, Some("[id]")),
        "{}",
        again.stderr
    );
    assert_eq!(place.json(&["show", "k"])["status"], "completed");
}

#[test]
fn a_question_is_shown_and_answered() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: ask, action: approval, with: { question: 'May we?' } }]\n",
    );
    let run = place.start(&["run", "w.yaml", "--key", "k"]);
    place.until("k", |run| step_is(run, 0, "waiting"));
    let shown = place.run(&["show", "k"]).stdout;
    assert!(
        shown.contains("May we?") && shown.contains("surefoot answer [id] ask approve|reject"),
        "{shown}"
    );
    let wrong = place.run(&["answer", "k", "ask", "rerun"]);
    assert_eq!(
        (wrong.status, wrong.stderr.as_str()),
        (
            2,
            "error: step ask waits for approve or reject, not for rerun\n"
        )
    );
    assert_eq!(
        place
            .run(&["answer", "k", "ask", "approve", "--note", "fine"])
            .status,
        0
    );
    let (status, stderr) = run.end();
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.contains("ask: tester answered: approve"), "{stderr}");
}

#[test]
fn who_carries_on_a_run_that_waits_for_an_answer_is_asked_again() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: ask, action: approval, with: { question: 'May we?' } }]\n",
    );
    let first = place.start(&["run", "w.yaml", "--key", "k"]);
    place.until("k", |run| step_is(run, 0, "waiting"));
    first.signal("-INT");
    assert_eq!(first.end().0, 130);
    let again = place.start(&["run", "w.yaml", "--key", "k"]);
    again.until_worker(&place);
    assert_eq!(place.run(&["answer", "k", "ask", "approve"]).status, 0);
    let (status, stderr) = again.end();
    let asked = "waits for an answer to step ask: May we?\n       answer with: surefoot answer ";
    assert!(
        status == 0 && stderr.contains(asked) && stderr.contains(" ask approve|reject"),
        "{stderr}"
    );
}

#[test]
fn cancel_with_undo_takes_back_what_was_made() {
    let place = Place::new();
    let mut init = place.command(&["init", "shop"]);
    // Two steps, of two seconds each, are left after the one that is waited for: time enough.
    init.env("SUREFOOT_PACE", "2s");
    let init = place.started(init);
    let repository = place.data().join("repositories/shop.git");
    place.until("shop", |run| step_is(run, 4, "completed"));
    assert!(repository.exists());
    let ran = place.run(&["cancel", "shop", "--undo", "--wait"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(init.end().0, 1);
    assert!(!repository.exists(), "{}", ran.stderr);
    assert_eq!(place.json(&["runs"])[0]["status"], "cancelled");
    assert_eq!(place.json(&["records"]).as_array().unwrap().len(), 0);
}

/// The commands that a text names, without `surefoot` itself.
fn named_commands(text: &str) -> Vec<Vec<String>> {
    let quoted = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter_map(|words| words.strip_prefix("surefoot "));
    quoted
        .map(|words| words.split(' ').map(str::to_owned).collect())
        .collect()
}

#[test]
fn a_name_whose_run_was_cancelled_is_free_again_by_what_the_refusal_says() {
    let place = Place::new();
    let in_the_way = place.data().join("repositories/fleet.git");
    std::fs::create_dir_all(&in_the_way).unwrap();
    assert_eq!(place.run(&["init", "shop"]).status, 1);
    std::fs::remove_dir(&in_the_way).unwrap();
    let cancelled = place.run(&["cancel", "shop"]);
    assert!(
        cancelled.status == 0
            && cancelled
                .stderr
                .contains("to take it back: surefoot cancel [id] --undo --wait")
    );
    assert_eq!(place.run(&["init", "shop"]).status, 1);
    let runs = place.json(&["runs"]);
    let error = runs[0]["error"].as_str().unwrap();
    let commands = named_commands(error);
    assert_eq!(commands.len(), 2, "{error}");
    for command in commands {
        let ran = place.run(&command.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(ran.status, 0, "{command:?}: {}", ran.stderr);
    }
    assert_eq!(place.json(&["show", "shop"])["status"], "completed");
}

#[test]
fn a_run_that_has_ended_is_watched_as_it_went() {
    let place = Place::new();
    place.write("w.yaml", "workflow: demo\nsteps:\n  - { id: a, action: sleep, with: { duration: 1ms } }\n  - { id: b, action: sleep, with: { duration: 1ms } }\n");
    assert_eq!(place.run(&["run", "w.yaml", "--key", "k"]).status, 0);
    let ran = place.run(&["watch", "k"]);
    let begun = ran
        .stderr
        .lines()
        .filter(|line| line.contains("started"))
        .collect::<Vec<_>>();
    assert_eq!(
        begun,
        ["[  0%] a: started", "[ 50%] b: started"],
        "{}",
        ran.stderr
    );
}

#[test]
fn a_paused_queue_starts_nothing_until_it_is_resumed() {
    let place = Place::new();
    let workflow = place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n",
    );
    assert_eq!(place.run(&["queue", "pause", "demo"]).status, 0);
    let _worker = place.start(&["worker"]);
    place.until_worker();
    assert_eq!(
        place
            .run(&["submit", workflow.to_str().unwrap(), "--key", "k"])
            .status,
        0
    );
    // Another queue goes on, so the worker has looked since.
    place.write(
        "other.yaml",
        "workflow: other\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n",
    );
    assert_eq!(place.run(&["run", "other.yaml"]).status, 0);
    assert_eq!(place.json(&["show", "k"])["status"], "queued");
    assert_eq!(
        place
            .json(&["queues"])
            .as_array()
            .unwrap()
            .iter()
            .find(|q| q["name"] == "demo")
            .unwrap()["paused"],
        true
    );
    assert_eq!(place.run(&["queue", "resume", "demo"]).status, 0);
    assert_eq!(place.run(&["watch", "k"]).status, 0);
}

#[test]
fn logs_can_be_followed() {
    let place = Place::new();
    gated(&place);
    let _run = place.start(&["run", "gated.yaml", "--key", "k"]);
    place.until("k", |run| step_is(run, 1, "running"));
    let logs = place.start(&["logs", "k", "--follow", "--step", "second"]);
    place.write("go", "");
    assert_eq!(logs.end().0, 0);
    assert!(place.run(&["logs", "k"]).stdout.ends_with("second: done\n"));
    assert_eq!(place.run(&["logs", "k", "--step", "third"]).status, 2);
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n",
    );
    assert_eq!(place.run(&["run", "w.yaml"]).status, 0);
    let mut command = place.command(&["runs"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    assert_eq!(command.status().unwrap().code(), Some(0));
}

#[test]
fn credentials_come_from_the_environment_and_from_files_and_are_masked() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: a, action: command.run, with: { shell: 'echo it is $T', credentials: { T: my-token } } }]\n",
    );
    let missing = place.run(&["run", "w.yaml", "--key", "k"]);
    assert_eq!(missing.status, 1);
    assert!(
        missing.stderr.contains("SUREFOOT_CREDENTIAL_MY_TOKEN"),
        "{}",
        missing.stderr
    );
    let mut command = place.command(&["run", "w.yaml", "--key", "k"]);
    command.env("SUREFOOT_CREDENTIAL_MY_TOKEN", "s3cret-one");
    assert_eq!(place.ran(command).status, 0);
    std::fs::create_dir(place.data().join("credentials")).unwrap();
    std::fs::write(place.data().join("credentials/my-token"), "s3cret-two\n").unwrap();
    assert_eq!(place.run(&["run", "w.yaml", "--key", "l"]).status, 0);
    for key in ["k", "l"] {
        assert!(place.run(&["logs", key]).stdout.ends_with("it is ***\n"));
    }
    let database = eventually("the store", || {
        std::fs::read(place.data().join("surefoot.db")).ok()
    });
    assert!(!database.windows(6).any(|bytes| bytes == b"s3cret"));
}

#[test]
fn whoever_follows_a_run_that_stands_still_is_told_why() {
    let place = Place::new();
    place.write(
        "one.yaml",
        "workflow: one\nsteps:\n  - { id: a, action: command.run, with: { shell: 'true' } }\n",
    );
    assert_eq!(place.run(&["queue", "pause", "one"]).status, 0);
    let follower = place.start(&["run", "one.yaml", "--key", "k"]);
    let paused = "for queue one to be resumed: it is paused";
    eventually("the reason in show", || {
        place
            .run(&["show", "k"])
            .stdout
            .contains(paused)
            .then_some(())
    });
    follower.until_said(paused);
    // It looks again each second, and shall not say so again.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!(place.run(&["queue", "resume", "one"]).status, 0);
    let (status, said) = follower.end();
    assert_eq!(status, 0, "{said}");
    assert_eq!(said.matches(paused).count(), 1, "{said}");
}
