//! Scratch clusters do what tests rely on.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says where by its panic"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use surefoot_scratch_postgres::{
    ScratchBouncer, ScratchOptions, ScratchPostgres, ScratchProxy, Silence, SteppableClock, Stop,
};

fn ask(cluster: &ScratchPostgres, url: &str, statement: &str) -> Result<String, String> {
    let output = cluster
        .program("psql")
        .args(["-X", "-A", "-t", "-d", url, "-c", statement])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

#[test]
fn a_cluster_starts_crashes_and_leaves_nothing() {
    let cluster = ScratchPostgres::start().unwrap();
    let url = cluster.fresh_database().unwrap();
    assert_eq!(ask(&cluster, &url, "SHOW fsync").unwrap(), "on");
    ask(
        &cluster,
        &url,
        "CREATE TABLE kept (n int); INSERT INTO kept VALUES (42)",
    )
    .unwrap();

    for how in [Stop::Fast, Stop::Kill] {
        cluster.stop(how).unwrap();
        assert!(
            ask(&cluster, &url, "SELECT 1")
                .unwrap_err()
                .contains("refused"),
            "{how:?}"
        );
        cluster.start_again().unwrap();
        assert_eq!(
            ask(&cluster, &url, "SELECT n FROM kept").unwrap(),
            "42",
            "what was committed survives {how:?}"
        );
    }

    cluster.refuse().unwrap();
    assert!(
        ask(&cluster, &url, "SELECT 1")
            .unwrap_err()
            .contains("rejects connection")
    );
    cluster.accept().unwrap();
    assert_eq!(ask(&cluster, &url, "SELECT 1").unwrap(), "1");

    let data = cluster.data();
    let server = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
    let server = server.lines().next().unwrap().to_owned();
    drop(cluster);
    assert!(!data.exists(), "the folder is gone");
    assert!(
        !Path::new(&format!("/proc/{server}")).exists(),
        "the server is gone"
    );
    // Another process may listen there by now.
    let there = ask(ScratchPostgres::shared(), &url, "SHOW data_directory");
    assert_ne!(there, Ok(data.display().to_string()));
}

#[test]
fn a_bouncer_pools_by_transaction() {
    let cluster = ScratchPostgres::shared();
    let url = cluster.fresh_database().unwrap();
    let database = url.rsplit('/').next().unwrap();
    let bouncer = ScratchBouncer::start(cluster, 2).unwrap();
    assert_eq!(
        ask(
            cluster,
            &bouncer.url_of(database),
            "SELECT current_database()"
        )
        .unwrap(),
        database
    );
    assert_eq!(
        ask(cluster, &bouncer.url_of("pgbouncer"), "SHOW CONFIG")
            .map(|rows| rows.contains("pool_mode|transaction")),
        Ok(true)
    );
}

#[test]
fn a_password_can_be_required() {
    let options = ScratchOptions {
        password: Some("sesame".to_owned()),
        ..ScratchOptions::default()
    };
    let cluster = ScratchPostgres::with(options).unwrap();
    assert_eq!(ask(&cluster, &cluster.url(), "SELECT 1").unwrap(), "1");
    let wrong = cluster.url_with("postgres", "postgres", Some("wrong"));
    assert!(
        ask(&cluster, &wrong, "SELECT 1")
            .unwrap_err()
            .contains("password authentication failed")
    );
}

/// The test starts itself again as a process that starts a cluster, and kills that.
#[test]
fn nothing_outlives_a_process_that_is_killed() {
    if let Some(answer) = std::env::var_os("SCRATCH_POSTGRES_CHILD") {
        let cluster = ScratchPostgres::start().unwrap();
        std::fs::write(answer, cluster.data().to_str().unwrap()).unwrap();
        loop {
            std::thread::park();
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let answer = folder.path().join("data");
    let mut child = std::process::Command::new(std::env::current_exe().unwrap());
    child
        .args(["--exact", "nothing_outlives_a_process_that_is_killed"])
        .env("SCRATCH_POSTGRES_CHILD", &answer);
    let mut child = child.stdout(std::process::Stdio::null()).spawn().unwrap();
    let data = until(|| {
        assert_eq!(child.try_wait().unwrap(), None, "it ends without a cluster");
        std::fs::read_to_string(&answer)
            .ok()
            .filter(|data| !data.is_empty())
    });
    let server = std::fs::read_to_string(Path::new(&data).join("postmaster.pid")).unwrap();
    let server = format!("/proc/{}", server.lines().next().unwrap());
    assert!(Path::new(&server).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    until(|| (!Path::new(&server).exists() && !Path::new(&data).exists()).then_some(()));
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(std::time::Instant::now() < deadline, "in vain");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Seconds since the epoch, as `date` reads them.
fn date(command: &mut Command) -> i64 {
    let output = command.arg("+%s").output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[test]
fn a_clock_steps_for_those_that_read_it_and_leaves_nothing() {
    let clock = SteppableClock::new().unwrap();
    for ahead in [0, 3_600, -3_600] {
        clock.set_ahead(ahead).unwrap();
        let shown = date(Command::new("date").envs(clock.environment()));
        let real = date(&mut Command::new("date"));
        assert!((shown - real - ahead).abs() < 60, "{ahead}: {shown}");
    }
    let environment = clock.environment();
    let (_, shared) = environment
        .iter()
        .find(|(name, _)| *name == "FAKETIME_SHARED")
        .unwrap();
    let page = shared.to_str().unwrap().rsplit('/').next().unwrap();
    let page = Path::new("/dev/shm").join(page);
    assert!(page.exists(), "{}", page.display());
    drop(clock);
    assert!(!page.exists(), "{}", page.display());
}

#[test]
fn the_clock_of_a_server_steps_and_stays_so_when_it_restarts() {
    let options = ScratchOptions {
        has_steppable_clock: true,
        ..ScratchOptions::default()
    };
    let cluster = ScratchPostgres::with(options).unwrap();
    let shown = || {
        let now = "SELECT extract(epoch FROM clock_timestamp())::bigint";
        let shown: i64 = cluster.psql("postgres", now).unwrap().parse().unwrap();
        shown - date(&mut Command::new("date"))
    };
    for ahead in [3_600, -3_600] {
        cluster.set_clock_ahead(ahead).unwrap();
        assert!((shown() - ahead).abs() < 60, "{ahead}");
        cluster.restart(Stop::Kill).unwrap();
        assert!((shown() - ahead).abs() < 60, "{ahead}");
    }
    let plain = ScratchPostgres::shared();
    assert!(plain.set_clock_ahead(1).is_err());
}

/// A server that sends back what it is sent.
fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut from = &client;
                let mut to = &client;
                std::io::copy(&mut from, &mut to)
            });
        }
    });
    port
}

/// Sends something. Returns whether it came back; fails when the connection is closed.
fn answers(mut connection: &TcpStream, text: &str) -> bool {
    connection
        .set_read_timeout(Some(Duration::from_secs(2)))
        .unwrap();
    connection.write_all(text.as_bytes()).unwrap();
    let mut back = vec![0; text.len()];
    match connection.read_exact(&mut back) {
        Ok(()) => back == text.as_bytes(),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
            false
        }
    }
}

#[test]
fn a_connection_that_falls_silent_is_not_closed() {
    let proxy = ScratchProxy::start(echo()).unwrap();
    let connect = || TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
    let heartbeats = connect();
    let other = connect();
    assert!(answers(&heartbeats, r#"UPDATE "surefoot".workers SET x"#));
    assert!(answers(&other, "SELECT 1"));

    assert_eq!(proxy.silence(Silence::Heartbeats), 1);
    assert!(!answers(&heartbeats, "again"));
    assert_eq!(proxy.given_up(), 0);
    drop(heartbeats);
    while proxy.given_up() == 0 {
        std::thread::yield_now();
    }
    assert!(answers(&other, "SELECT 1"));

    assert_eq!(proxy.silence(Silence::All), 1);
    assert!(!answers(&other, "SELECT 1"));
    let later = connect();
    assert!(answers(&later, "SELECT 1"));

    assert_eq!(proxy.silence(Silence::Host), 1);
    assert!(!answers(&later, "SELECT 1"));
    assert!(!answers(&connect(), "SELECT 1"));
}
