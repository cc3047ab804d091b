//! Secrets of the process itself reach no command that it runs, and nothing that is written or
//! said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use surefoot_scratch_postgres::ScratchPostgres;

use crate::place::{Place, eventually};

/// Variables in a process's environment that no command must see.
const SECRETS: [(&str, &str); 7] = [
    ("SUREFOOT_CREDENTIAL_FORGE", "hunter2-credential"),
    ("PGPASSWORD", "hunter2-password"),
    ("PGPASSFILE", "/home/ada/hunter2-file"),
    ("REDISCLI_AUTH", "hunter2-redis"),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=hunter2-headers",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
        "authorization=hunter2-traces",
    ),
    // A store whose address is itself a secret would look like this.
    ("SUREFOOT_STORE", "sqlite:hunter2.db"),
];

fn with_secrets(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command
        .envs(SECRETS)
        .env("HARMLESS", "seen")
        .env("SUREFOOT_WORKER_PASS_ENVIRONMENT", "HARMLESS,PGPASSWORD");
    command
}

/// A text that has the environment of a command in it.
fn is_clean(text: &str) {
    assert!(
        text.contains("HARMLESS=seen") && !text.contains("hunter2"),
        "{text}"
    );
}

#[test]
fn no_command_of_a_step_inherits_them() {
    let place = Place::new();
    place.write(
        "env.yaml",
        "workflow: env\nsteps: [{ id: a, action: command.run, with: { argv: [env] } }]\n",
    );
    assert_eq!(
        place
            .ran(with_secrets(&place, &["run", "env.yaml", "--key", "k"]))
            .status,
        0
    );
    is_clean(&place.ran(with_secrets(&place, &["logs", "k"])).stdout);
}

#[test]
fn git_does_not_inherit_them() {
    let place = Place::new();
    let fleet = place.path().join("fleet.git");
    assert!(
        Command::new("git")
            .args(["init", "--quiet", "--bare"])
            .arg(&fleet)
            .status()
            .unwrap()
            .success()
    );
    let hook = fleet.join("hooks/pre-receive");
    let seen = place.path().join("seen");
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\nenv > {}\n", seen.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    place.write("surefoot.toml", "fleet = 'fleet.git'\n");
    let ran = place.ran(with_secrets(
        &place,
        &["init", "shop", "--config", "surefoot.toml"],
    ));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    is_clean(&fs::read_to_string(seen).unwrap());
}

#[test]
fn the_program_of_a_notifier_does_not_inherit_them() {
    let place = Place::new();
    let seen = place.path().join("seen");
    let config = format!(
        "[alerts.notifiers.pager]\nkind = 'command'\ncommand = ['sh', '-c', 'env > {}']\n",
        seen.display()
    );
    place.write("surefoot.toml", &config);
    let ran = place.ran(with_secrets(
        &place,
        &["alerts", "test", "--config", "surefoot.toml"],
    ));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    is_clean(&fs::read_to_string(seen).unwrap());
}

#[test]
fn what_a_step_finds_in_the_environment_of_its_worker_is_masked() {
    let place = Place::new();
    let url = ScratchPostgres::shared()
        .fresh_database()
        .unwrap()
        .replace("postgres@", "postgres:hunter2%2Dsecret@");
    // A process of the same user can read the environment of the process that started it.
    let look = "tr '\\0' '\\n' < /proc/$PPID/environ | grep hunter; echo hunter2-secret";
    place.write(
        "look.yaml",
        &format!(
            "workflow: look\nsteps:\n  - id: a\n    action: command.run\n    with:\n      shell: \"{}\"\n",
            look.replace('\\', "\\\\")
        ),
    );
    let with_store = |args: &[&str]| {
        let mut command = place.command(args);
        command
            .env("SUREFOOT_STORE", &url)
            .env("SUREFOOT_CREDENTIAL_FORGE", "hunter2-credential");
        place.ran(command)
    };
    let ran = with_store(&["run", "look.yaml", "--key", "k"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let log = with_store(&["logs", "k"]).stdout;
    assert!(log.contains("a: SUREFOOT_CREDENTIAL_FORGE=***\n"), "{log}");
    assert!(
        log.contains("SUREFOOT_STORE=postgres://***@") && log.ends_with("a: ***\n"),
        "{log}"
    );
    assert!(!log.contains("hunter"), "{log}");
}

#[test]
fn what_is_said_of_the_command_line_has_no_password() {
    let place = Place::new();
    let check = |args: &[&str], expect: &str| {
        let ran = place.run(args);
        assert!(
            ran.status == 2 && ran.stderr.contains(expect),
            "{args:?}: {} {}",
            ran.status,
            ran.stderr
        );
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    };
    let url = "postgres://ann:hunter2@h/d";
    check(
        &["runs", url],
        "unexpected argument 'postgres://ann:***@h/d' found",
    );
    check(
        &["runs", "postgres://ann:hunter2 and@h/d"],
        "unexpected argument 'postgres://ann:***@h/d' found",
    );
    check(&[url], "unrecognized subcommand 'postgres://ann:***@h/d'");
    check(
        &["runs", "--limit", url],
        "invalid value 'postgres://ann:***@h/d'",
    );
    check(
        &["runs", &format!("--limit={url}")],
        "invalid value 'postgres://ann:***@h/d'",
    );
    check(&["run", url], "postgres://ann:***@h/d");
    check(&["init", url], "postgres://ann:***@h/d");
}

const SEALED: &str = r#"
workflow: sealed
parameters:
  properties: { name: { type: string }, password: { type: string, writeOnly: true } }
output: { said: "${{ parameters.password }}", step: "${{ steps.one.output.said }}" }
steps:
  - id: one
    action: command.run
    with:
      env: { PASSWORD: "${{ parameters.password }}" }
      shell: 'echo "$PASSWORD"; printf %s "$PASSWORD" | base64; printf %s "$PASSWORD" | od -An -tx1 | tr -d " \n"; echo;
        echo "{\"said\": \"$PASSWORD\"}" > "$SUREFOOT_OUTPUT"; test ${#PASSWORD} = 19'
  - id: two
    action: command.run
    retry: { attempts: 1 }
    with: { env: { PASSWORD: "${{ parameters.password }}" }, shell: 'echo "no $PASSWORD" >&2; exit 3' }
"#;

/// The store's files hold no form of it, nor does anything that a command shows; the step had it in
/// clear.
#[test]
fn a_secret_parameter_is_encrypted_in_the_store_and_shown_by_no_command() {
    let place = Place::new();
    place.write("sealed.yaml", SEALED);
    let run = [
        "run",
        "sealed.yaml",
        "-p",
        "name=shop",
        "-p",
        "password=hunter2-of-the-shop",
        "--key",
        "k",
    ];
    let ran = place.run(&run);
    assert_eq!(ran.status, 1, "{} {}", ran.stdout, ran.stderr);
    assert!(
        ran.stderr.contains("***") || ran.stdout.contains("***"),
        "{} {}",
        ran.stdout,
        ran.stderr
    );
    let forms = ["hunter2", "aHVudGVyMi1vZi10aGUtc2hvc", "68756e746572322d"];
    let check = |what: &str, said: &str| {
        for form in forms {
            assert!(!said.contains(form), "{what}: {said}");
        }
    };
    check("run", &format!("{}{}", ran.stdout, ran.stderr));
    let plan = place.run(&[&run[..6], &["--dry-run"]].concat());
    assert_eq!(plan.status, 0, "{}", plan.stderr);
    check("dry run", &format!("{}{}", plan.stdout, plan.stderr));
    for args in [
        &["show", "k"][..],
        &["--json", "show", "k"],
        &["logs", "k"],
        &["runs"],
        &["watch", "k"],
    ] {
        let ran = place.run(args);
        check(&args.join(" "), &format!("{}{}", ran.stdout, ran.stderr));
    }
    for file in fs::read_dir(place.data())
        .unwrap()
        .map(Result::unwrap)
        .filter(|file| file.path().is_file())
    {
        check(
            &file.path().display().to_string(),
            &String::from_utf8_lossy(&fs::read(file.path()).unwrap()),
        );
    }
    let key = fs::metadata(place.data().join("secret.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let other = place.run(&[
        "submit",
        "sealed.yaml",
        "-p",
        "name=shop",
        "-p",
        "password=another-one",
        "--key",
        "k",
    ]);
    assert_eq!(other.status, 2, "{}", other.stdout);
    assert!(
        other.stderr.contains("secret parameters") && !other.stderr.contains("another-one"),
        "{}",
        other.stderr
    );
}

/// A key that is lost or replaced fails nothing: the run waits, and says for which key.
#[test]
fn a_run_whose_key_is_not_here_waits_and_says_so() {
    let place = Place::new();
    place.write("sealed.yaml", &SEALED.replace("exit 3", "exit 0"));
    let submitted = place.run(&[
        "submit",
        "sealed.yaml",
        "-p",
        "password=hunter2-of-the-shop",
        "--key",
        "k",
    ]);
    assert_eq!(submitted.status, 0, "{}", submitted.stderr);
    let path = place.data().join("secret.key");
    let key = fs::read_to_string(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let worker = place.start(&["worker"]);
    worker.until_worker(&place);
    eventually("what it waits for", || {
        place
            .run(&["show", "k"])
            .stdout
            .contains("for a worker that has key:")
            .then_some(())
    });
    worker.signal("-TERM");
    assert_eq!(worker.end().0, 0);
    // Rotation: the new key first, the old one after it.
    let new = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{new}{key}")).unwrap();
    let run = place.run(&[
        "run",
        "sealed.yaml",
        "-p",
        "password=hunter2-of-the-shop",
        "--key",
        "k",
    ]);
    assert_eq!(run.status, 0, "{} {}", run.stdout, run.stderr);
}
