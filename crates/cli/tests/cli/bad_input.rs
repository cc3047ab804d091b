//! Bad input produces an error that says what to do, an exit status for its kind, and no change.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::place::{Place, Ran};

/// A command that is refused: its exit status, and its words on the error output and nowhere else.
fn refused(place: &Place, args: &[&str], status: i32) -> String {
    refusal(args, place.run(args), status)
}

fn refusal(args: &[&str], ran: Ran, status: i32) -> String {
    assert_eq!(ran.status, status, "{args:?}: {}", ran.stderr);
    assert_eq!(ran.stdout, "", "{args:?}");
    ran.stderr
}

/// Refuses to run this workflow file, and writes nothing.
fn workflow(text: &str) -> String {
    let place = Place::new();
    place.write("w.yaml", text);
    let words = refused(&place, &["run", "w.yaml"], 2);
    assert!(!place.data().exists(), "something was written");
    words
}

#[test]
fn yaml_that_cannot_be_read() {
    insta::assert_snapshot!(workflow(
        "workflow: demo\nsteps:\n  - id: [a\n    action: sleep\n"
    ));
}

#[test]
fn a_field_that_is_missing() {
    insta::assert_snapshot!(workflow("workflow: demo\nsteps:\n  - id: a\n"));
}

#[test]
fn a_field_that_is_not_known() {
    insta::assert_snapshot!(workflow(
        "workflow: demo\nsteps:\n  - id: a\n    acton: sleep\n"
    ));
}

#[test]
fn an_action_that_is_not_known() {
    insta::assert_snapshot!(workflow(
        "workflow: demo\nsteps:\n  - id: a\n    action: git.comit\n"
    ));
}

#[test]
fn an_input_that_does_not_fit_its_action() {
    insta::assert_snapshot!(workflow(
        "workflow: demo\nsteps:\n  - id: a\n    action: sleep\n    with: { duraton: 1s }\n"
    ));
}

#[test]
fn an_expression_that_has_no_value() {
    insta::assert_snapshot!(workflow(
        "workflow: demo\nsteps:\n  - id: a\n    action: sleep\n    with: { duration: '${{ steps.later.output }}' }\n"
    ));
}

#[test]
fn a_file_that_is_not_there() {
    let place = Place::new();
    insta::assert_snapshot!(refused(&place, &["run", "gone.yaml"], 2));
    insta::assert_snapshot!(refused(&place, &["submit", "initialise"], 2));
}

#[test]
fn parameters_that_do_not_fit() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nparameters:\n  type: object\n  required: [name]\n  properties: { name: { type: string }, port: { type: \
         integer } }\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n",
    );
    let check = |args: &[&str]| refused(&place, &[&["run", "w.yaml"], args].concat(), 2);
    insta::assert_snapshot!(
        [
            check(&[]),
            check(&["-p", "name=x", "-p", "port=many"]),
            check(&["-p", "nmae=x"]),
            check(&["-p", "name"]),
            check(&["-p", "name=x", "-p", "name=y"])
        ]
        .join("--\n")
    );
    assert!(!place.data().exists(), "something was written");
}

#[test]
fn names_and_templates_that_cannot_be() {
    let place = Place::new();
    let check = |args: &[&str]| refused(&place, args, 2);
    insta::assert_snapshot!(
        [
            check(&["init", "My Service"]),
            check(&["init", "shop", "--template", "nothing-of-ours"]),
            check(&["init", "shop", "-p", "name=other"])
        ]
        .join("--\n")
    );
    assert!(!place.data().exists(), "something was written");
}

#[test]
fn a_name_that_is_taken() {
    let place = Place::new();
    assert_eq!(place.run(&["init", "shop"]).status, 0);
    insta::assert_snapshot!(refused(
        &place,
        &["init", "shop", "--description", "Sells"],
        2
    ));
    assert_eq!(place.json(&["runs"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_store_that_is_not_there_or_not_ours() {
    let place = Place::new();
    place.write(
        "letter.db",
        "Dear reader, this is no database but quite a long text, as letters tend to be.\n",
    );
    insta::assert_snapshot!(
        [
            refused(&place, &["runs"], 3),
            refused(&place, &["runs", "--store", "sqlite:letter.db"], 3),
            refused(&place, &["runs", "--store", "redis://localhost"], 2)
        ]
        .join("--\n")
    );
    assert!(!place.data().exists(), "looking made something");
}

#[test]
fn a_store_of_a_newer_version() {
    let place = Place::new();
    assert_eq!(place.run(&["queue", "pause", "demo"]).status, 0);
    let database = rusqlite::Connection::open(place.data().join("surefoot.db")).unwrap();
    let version: i64 = database
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    database
        .pragma_update(None, "user_version", version + 1000)
        .unwrap();
    drop(database);
    let words = refused(&place, &["runs"], 3);
    assert!(words.contains("newer"), "{words}");
}

#[test]
fn a_data_directory_that_cannot_be_written() {
    let place = Place::new();
    place.write("file", "");
    let mut command = place.command(&["init", "shop"]);
    command.env("SUREFOOT_DATA_DIR", place.path().join("file/data"));
    insta::assert_snapshot!(refusal(&["init"], place.ran(command), 3));
    let closed = place.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o500)).unwrap();
    // The superuser may write anywhere.
    if fs::write(closed.join("probe"), "").is_err() {
        let mut command = place.command(&["init", "shop"]);
        command.env("SUREFOOT_DATA_DIR", &closed);
        refusal(&["init"], place.ran(command), 3);
    }
}

#[test]
fn git_that_is_missing() {
    let place = Place::new();
    let mut command = place.command(&["init", "shop"]);
    command.env("PATH", place.path());
    insta::assert_snapshot!(refusal(&["init"], place.ran(command), 2));
    assert!(!place.data().exists(), "something was written");
    // A workflow that calls no git needs none.
    place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: a, action: sleep, with: { duration: 1ms } }]\n",
    );
    let mut command = place.command(&["run", "w.yaml"]);
    command.env("PATH", place.path());
    assert_eq!(place.ran(command).status, 0);
}

#[test]
fn a_second_worker() {
    let place = Place::new();
    let _worker = place.start(&["worker"]);
    place.until_worker();
    insta::assert_snapshot!(refused(&place, &["worker"], 3));
}

#[test]
fn a_configuration_that_is_wrong() {
    let place = Place::new();
    place.write("surefoot.toml", "[worker]\nconcurency = 3\n");
    insta::assert_snapshot!(refused(&place, &["runs", "--config", "surefoot.toml"], 2));
    place.write("surefoot.toml", "[queues.demo]\nrate = 'fast'\n");
    insta::assert_snapshot!(refused(&place, &["worker", "--config", "surefoot.toml"], 2));
}

#[test]
fn runs_that_are_not_there() {
    let place = Place::new();
    assert_eq!(place.run(&["queue", "pause", "demo"]).status, 0);
    insta::assert_snapshot!(
        [
            refused(&place, &["show", "nothing"], 2),
            refused(
                &place,
                &["retry", "01890000-0000-7000-8000-000000000000"],
                2
            ),
            refused(&place, &["queue", "set", "demo"], 2),
            refused(&place, &["queue", "set", "demo", "--rate", "fast"], 2)
        ]
        .join("--\n")
    );
}

/// `--key "$UNSET"`: the second run would do nothing and say that it is completed already.
#[test]
fn a_key_that_is_empty_or_too_long() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nsteps: [{ id: a, action: sleep, with: { duration: 0s } }]\n",
    );
    let long = "x".repeat(256);
    for (option, key, expect) in [
        (
            "--key",
            "",
            "the key is empty: give 1 to 255 characters, or leave it out",
        ),
        (
            "--key",
            long.as_str(),
            "the key has 256 characters: 255 are allowed",
        ),
        ("--concurrency-key", "", "the concurrency key is empty"),
    ] {
        let words = refused(&place, &["submit", "w.yaml", option, key], 2);
        assert!(words.contains(expect), "{words}");
    }
    let words = refused(&place, &["run", "w.yaml", "--key", ""], 2);
    assert!(words.contains("the key is empty"), "{words}");
    assert!(!place.data().exists(), "something was written");
}
