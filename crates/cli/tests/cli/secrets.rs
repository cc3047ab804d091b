//! Secrets of the process itself reach no command that it runs, and nothing that is written or said.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use surefoot_scratch_postgres::ScratchPostgres;

use crate::place::Place;

/// What a process may have in its environment that no command is to see.
const SECRETS: [(&str, &str); 7] = [
    ("SUREFOOT_CREDENTIAL_FORGE", "hunter2-credential"),
    ("PGPASSWORD", "hunter2-password"),
    ("PGPASSFILE", "/home/ada/hunter2-file"),
    ("REDISCLI_AUTH", "hunter2-redis"),
    ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=hunter2-headers"),
    ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=hunter2-traces"),
    // A store whose address is itself a secret would look like this.
    ("SUREFOOT_STORE", "sqlite:hunter2.db"),
];

fn with_secrets(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command.envs(SECRETS).env("HARMLESS", "seen");
    command
}

/// A text that has the environment of a command in it.
fn is_clean(text: &str) {
    assert!(text.contains("HARMLESS=seen") && !text.contains("hunter2"), "{text}");
}

#[test]
fn no_command_of_a_step_inherits_them() {
    let place = Place::new();
    place.write("env.yaml", "workflow: env\nsteps: [{ id: a, action: command.run, with: { argv: [env] } }]\n");
    assert_eq!(place.ran(with_secrets(&place, &["run", "env.yaml", "--key", "k"])).status, 0);
    is_clean(&place.ran(with_secrets(&place, &["logs", "k"])).stdout);
}

#[test]
fn git_does_not_inherit_them() {
    let place = Place::new();
    let fleet = place.path().join("fleet.git");
    assert!(Command::new("git").args(["init", "--quiet", "--bare"]).arg(&fleet).status().unwrap().success());
    let (hook, seen) = (fleet.join("hooks/pre-receive"), place.path().join("seen"));
    fs::create_dir_all(hook.parent().unwrap()).unwrap();
    fs::write(&hook, format!("#!/bin/sh\nenv > {}\n", seen.display())).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    place.write("surefoot.toml", "fleet = 'fleet.git'\n");
    let ran = place.ran(with_secrets(&place, &["init", "shop", "--config", "surefoot.toml"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    is_clean(&fs::read_to_string(seen).unwrap());
}

#[test]
fn the_program_of_a_notifier_does_not_inherit_them() {
    let place = Place::new();
    let seen = place.path().join("seen");
    let config =
        format!("[alerts.notifiers.pager]\nkind = 'command'\ncommand = ['sh', '-c', 'env > {}']\n", seen.display());
    place.write("surefoot.toml", &config);
    let ran = place.ran(with_secrets(&place, &["alerts", "test", "--config", "surefoot.toml"]));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    is_clean(&fs::read_to_string(seen).unwrap());
}

#[test]
fn what_a_step_finds_in_the_environment_of_its_worker_is_masked() {
    let place = Place::new();
    let url = ScratchPostgres::shared().fresh_database().unwrap().replace("postgres@", "postgres:hunter2%2Dsecret@");
    // Whoever runs as the same user can read the environment of the process that started it.
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
        command.env("SUREFOOT_STORE", &url).env("SUREFOOT_CREDENTIAL_FORGE", "hunter2-credential");
        place.ran(command)
    };
    let ran = with_store(&["run", "look.yaml", "--key", "k"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let log = with_store(&["logs", "k"]).stdout;
    assert!(log.contains("a: SUREFOOT_CREDENTIAL_FORGE=***\n"), "{log}");
    assert!(log.contains("SUREFOOT_STORE=postgres://postgres:***@") && log.ends_with("a: ***\n"), "{log}");
    assert!(!log.contains("hunter"), "{log}");
}

#[test]
fn what_is_said_of_the_command_line_has_no_password() {
    let place = Place::new();
    let check = |args: &[&str], expect: &str| {
        let ran = place.run(args);
        assert!(ran.status == 2 && ran.stderr.contains(expect), "{args:?}: {} {}", ran.status, ran.stderr);
        assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    };
    let url = "postgres://ann:hunter2@h/d";
    check(&["runs", url], "unexpected argument 'postgres://ann:***@h/d' found");
    check(&["runs", "postgres://ann:hunter2 and@h/d"], "unexpected argument 'postgres://ann:***@h/d' found");
    check(&[url], "unrecognized subcommand 'postgres://ann:***@h/d'");
    check(&["runs", "--limit", url], "invalid value 'postgres://ann:***@h/d'");
    check(&["runs", &format!("--limit={url}")], "invalid value 'postgres://ann:***@h/d'");
    check(&["run", url], "postgres://ann:***@h/d");
    check(&["init", url], "postgres://ann:***@h/d");
}
