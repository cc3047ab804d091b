//! A password in the store's address is never shown: not by a page, the API, a command, an error or
//! a log.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use surefoot_scratch_postgres::{ScratchOptions, ScratchPostgres};

use crate::common::port::free_port;
use crate::common::{text, until};
use crate::ledger::Ledger;

/// With characters that are escaped in an address.
const SECRET: &str = "hunter2/s3cr3t";
const WRITTEN: &str = "hunter2%2Fs3cr3t";

/// Asserts that no part of the secret is in the output.
fn check(what: &str, said: &str) {
    for part in ["hunter2", "s3cr3t"] {
        assert!(!said.contains(part), "{what} shows the password: {said}");
    }
}

/// The whole response to a GET.
fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

fn is_ok(answer: &str) -> bool {
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn the_password_of_the_database_is_shown_nowhere() {
    let options = ScratchOptions {
        password: Some(SECRET.to_owned()),
        ..ScratchOptions::default()
    };
    let cluster = ScratchPostgres::with(options).expect("PostgreSQL");
    let ledger = Ledger::new(&cluster.url_with("postgres", "postgres", Some(WRITTEN)), "");
    // Without it the server logs a line, so that the log is not empty.
    std::fs::remove_file(ledger.place.data().join("surefoot.toml")).expect("removed");
    let port = free_port();
    let mut serve = ledger.command(&["serve", "--listen", &format!("127.0.0.1:{port}")]);
    let serve = ledger.place.start(serve.env("RUST_LOG", "trace"));
    until("the server is ready", || {
        get(port, "/readyz").filter(|answer| is_ok(answer))
    });
    let run = ledger.submit(&ledger.seven("0"), "one");
    ledger.check(&ledger.until_completed(&run), "with a password");
    until("the doctor has looked", || {
        get(port, "/settings").filter(|page| page.contains("full_page_writes"))
    });
    for path in [
        "/settings",
        "/",
        "/workers",
        "/queues",
        "/metrics",
        "/api/v1/workers",
        "/api/v1/runs",
    ] {
        let page = get(port, path).expect("an answer");
        assert!(is_ok(&page), "{path}: {page}");
        check(path, &page);
    }
    let settings = get(port, "/settings").expect("an answer");
    assert!(
        settings.contains(&format!("127.0.0.1:{}", cluster.port())),
        "{settings}"
    );
    let page = get(port, &format!("/runs/{run}")).expect("an answer");
    assert!(is_ok(&page), "{page}");
    check("a run's page", &page);
    serve.signal("-TERM");
    let output = serve.finish();
    assert!(output.status.success(), "{}", text(&output));
    assert!(
        text(&output).contains("no configuration file"),
        "it did log: {}",
        text(&output)
    );
    check("the log", &text(&output));
}

#[test]
fn the_password_of_the_database_is_in_no_answer_of_a_command() {
    let options = ScratchOptions {
        password: Some(SECRET.to_owned()),
        ..ScratchOptions::default()
    };
    let cluster = ScratchPostgres::with(options).expect("PostgreSQL");
    let ledger = Ledger::new(&cluster.url_with("postgres", "postgres", Some(WRITTEN)), "");
    let file = ledger.seven("0");
    let place = ledger.store.split_once('@').expect("a host").1;
    let said = |store: &str, args: &[&str], status: i32| {
        let mut command = ledger.command(args);
        command
            .env("SUREFOOT_STORE", store)
            .env("RUST_LOG", "debug");
        let output = command.output().expect("the binary starts");
        assert_eq!(
            output.status.code(),
            Some(status),
            "{store} {args:?}: {}",
            text(&output)
        );
        check(&format!("{args:?}"), &text(&output));
        text(&output)
    };
    for args in [
        &["run", &file, "--key", "one"][..],
        &["doctor"],
        &["doctor", "--json"],
        &["show", "one", "--json"],
        &["runs", "--json"],
        &["queues", "--json"],
        &["migrate"],
    ] {
        said(&ledger.store, args, 0);
    }
    // A wrong password, a missing server, and invalid addresses.
    let refused = said(
        &ledger
            .store
            .replace("postgres:hunter2", "postgres:other-hunter2"),
        &["runs"],
        3,
    );
    assert!(refused.contains("password"), "{refused}");
    for (store, status) in [
        (format!("postgres://ann:{WRITTEN}@127.0.0.1:9/x"), 3),
        (format!("postgres://ann:{WRITTEN}@127.0.0.1:port/x"), 2),
        (
            format!("postgres://{place}?password={WRITTEN}&sslmode=perhaps"),
            2,
        ),
        (
            format!(
                "postgres://{place}?sslrootcert=/nowhere&sslmode=verify-full&password={WRITTEN}"
            ),
            3,
        ),
        (format!("postgres://{place}?who=ann&password={WRITTEN}"), 2),
        (format!("postgresq://ann:{WRITTEN}@{place}"), 2),
    ] {
        said(&store, &["runs"], status);
        said(&store, &["worker"], status);
    }
    // The address as a flag, and in the configuration.
    let flag = ledger
        .command(&["runs", "--store", &ledger.store, "--json"])
        .output()
        .expect("the binary starts");
    check("a flag", &text(&flag));
    let config =
        format!("store = 'postgres://ann:{WRITTEN}@127.0.0.1:9/x'\n[postgres]\nscheme = 's'\n");
    std::fs::write(ledger.place.data().join("surefoot.toml"), config).expect("written");
    let wrong = ledger
        .command(&["runs"])
        .env_remove("SUREFOOT_STORE")
        .output()
        .expect("the binary starts");
    assert_eq!(wrong.status.code(), Some(2), "{}", text(&wrong));
    check("a configuration with a mistake", &text(&wrong));
}
