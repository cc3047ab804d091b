//! The reported facts are true: each is first created, on real servers.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "what cannot be unwrapped is a failed test"
)]

use std::io::Write as _;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use surefoot_postgres::{HolderKind, PostgresFacts, PostgresStore, Standby};
use surefoot_scratch_postgres::{ScratchBouncer, ScratchPostgres};

async fn facts(url: &str) -> PostgresFacts {
    PostgresStore::options(url).facts().await.unwrap()
}

/// Repeats until the facts are as expected.
async fn until(url: &str, what: &str, so: impl Fn(&PostgresFacts) -> bool) -> PostgresFacts {
    let start = Instant::now();
    loop {
        let found = facts(url).await;
        if so(&found) {
            return found;
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "{what} did not come to be: {found:#?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A process that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn facts_of_a_default_server_are_correct() {
    let url = ScratchPostgres::shared().fresh_database().unwrap();
    let found = facts(&url).await;
    let settings = &found.settings;
    assert!(
        settings.fsync && settings.full_page_writes && settings.autovacuum && !settings.in_recovery
    );
    assert_eq!(
        (
            settings.synchronous_commit.as_str(),
            settings.wal_level.as_str()
        ),
        ("on", "replica")
    );
    assert!(
        settings.version >= 130_000 && settings.max_connections == 197,
        "{settings:?}"
    );
    assert_eq!(found.standbys.unwrap(), []);
    assert!(!found.pooled, "a session has its own process");
    assert!(found.usage.unwrap().connections >= 1);
    assert_eq!(found.folder, Some(ScratchPostgres::shared().data()));
    let (schema, known) = found.schema.unwrap();
    assert_eq!(schema, 0);
    let store = PostgresStore::options(&url).open().await.unwrap();
    let found = facts(&url).await;
    assert_eq!(found.schema.unwrap(), (known, known));
    let tables = found.tables.unwrap();
    assert!(
        tables.iter().any(|table| table.name == "runs"),
        "{tables:#?}"
    );
    drop(store);
}

/// Other tests disturb a single measurement; of several, one is undisturbed.
#[tokio::test]
async fn measurements_are_plausible() {
    let url = ScratchPostgres::shared().fresh_database().unwrap();
    let mut measured = Measured::default();
    for _ in 0..10 {
        measured.add(facts(&url).await);
        if measured.is_plausible() {
            return;
        }
    }
    panic!("{measured:?}");
}

/// Results of several measurements.
#[derive(Debug, Default)]
struct Measured {
    round_trips: Vec<Duration>,
    commits: Vec<Duration>,
    notified: Vec<Option<Duration>>,
    clocks: Vec<(i64, Duration)>,
}

impl Measured {
    fn add(&mut self, found: PostgresFacts) {
        self.round_trips.push(found.round_trip.unwrap());
        self.commits.push(found.commit.unwrap());
        self.notified.push(found.notify.unwrap());
        self.clocks.push(found.clock.unwrap());
    }

    /// A commit waits for the disk, a notification arrives, and it is the same clock.
    fn is_plausible(&self) -> bool {
        let as_uncertain = |(ahead, uncertain): &(i64, Duration)| {
            let ahead = Duration::from_micros(ahead.unsigned_abs());
            *uncertain < Duration::from_secs(1) && ahead <= *uncertain + Duration::from_millis(1)
        };
        self.round_trips.iter().min() < self.commits.iter().min()
            && self
                .notified
                .iter()
                .flatten()
                .any(|time| *time < Duration::from_secs(1))
            && self.clocks.iter().any(as_uncertain)
    }
}

#[tokio::test]
async fn settings_that_lose_commits_are_reported() {
    let lines = [
        "fsync = off",
        "synchronous_commit = off",
        "full_page_writes = off",
        "autovacuum = off",
    ];
    let server = ScratchPostgres::with_settings(&lines).unwrap();
    let found = facts(&server.url()).await;
    let settings = &found.settings;
    assert!(!settings.fsync && !settings.full_page_writes && !settings.autovacuum);
    assert_eq!(settings.synchronous_commit, "off");
    // The role of the store may have settings of its own.
    server
        .psql(
            "postgres",
            "CREATE ROLE careful LOGIN; ALTER ROLE careful SET synchronous_commit = on",
        )
        .unwrap();
    let found = facts(&server.url().replace("postgres@", "careful@")).await;
    assert_eq!(found.settings.synchronous_commit, "on");
    assert_eq!(
        found.folder, None,
        "an ordinary user cannot see where the data is"
    );
    assert!(
        found.commit.is_ok() && found.holders.is_ok() && found.usage.is_ok(),
        "{found:#?}"
    );
}

#[tokio::test]
async fn obstacles_of_vacuum_are_reported() {
    let server = ScratchPostgres::with_settings(&["max_prepared_transactions = 5"]).unwrap();
    let url = server.url();
    assert_eq!(facts(&url).await.holders.unwrap(), []);
    let mut psql = server.program("psql");
    psql.args(["-X", "-q", "-d", "postgres"])
        .env("PGAPPNAME", "forgetful")
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut psql = Running(psql.spawn().unwrap());
    let mut words = psql.0.stdin.take().unwrap();
    words
        .write_all(b"BEGIN; SELECT pg_current_xact_id();\n")
        .unwrap();
    words.flush().unwrap();
    let script = "BEGIN;\nCREATE TABLE t ();\nPREPARE TRANSACTION 'forgotten';\n";
    let mut other = server.program("psql");
    other
        .args(["-X", "-q", "-d", "postgres"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut other = Running(other.spawn().unwrap());
    other
        .0
        .stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(other.0.wait().unwrap().success());
    server
        .psql(
            "postgres",
            "SELECT pg_create_physical_replication_slot('unread', true)",
        )
        .unwrap();
    let found = until(&url, "three holders", |found| {
        found.holders.as_ref().is_ok_and(|all| all.len() == 3)
    })
    .await;
    let holders = found.holders.unwrap();
    let of = |kind| holders.iter().find(|holder| holder.kind == kind).unwrap();
    assert!(
        of(HolderKind::Transaction)
            .name
            .contains("(forgetful, idle in transaction)"),
        "{holders:#?}"
    );
    assert!(of(HolderKind::Transaction).age.unwrap() >= Duration::from_secs(10));
    assert_eq!(of(HolderKind::Prepared).name, "forgotten");
    assert_eq!(of(HolderKind::Slot).name, "unread");
    assert!(of(HolderKind::Slot).keeps.is_some());
    drop(words);
}

#[tokio::test]
async fn a_pooler_in_transaction_mode_is_detected() {
    let server = ScratchPostgres::shared();
    let bouncer = ScratchBouncer::start(server, 5).unwrap();
    let found = facts(&bouncer.url_of("postgres")).await;
    assert!(found.pooled, "sessions share processes");
    assert_eq!(
        found.notify.unwrap(),
        None,
        "no notification arrives through the pooler"
    );
    assert!(found.settings.fsync && found.commit.is_ok() && found.usage.is_ok());
}

#[tokio::test]
async fn standbys_are_reported_with_their_lag() {
    let server =
        ScratchPostgres::with_settings(&["synchronous_standby_names = 'in_step'"]).unwrap();
    let url = server.url();
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let follow = |name: &str, folder: &std::path::Path| {
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .unwrap();
        let mut receiver = server.program("pg_receivewal");
        receiver
            .arg("-D")
            .arg(folder)
            .arg("--synchronous")
            .env("PGAPPNAME", name);
        Running(
            receiver
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    };
    let _followers = (
        follow("in_step", folders[0].path()),
        follow("trailing", folders[1].path()),
    );
    let start = Instant::now();
    while server
        .psql(
            "postgres",
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
        )
        .unwrap()
        != "2"
    {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "they do not follow"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let found = until(
        &url,
        "one in step, and how far the other is behind",
        |found| {
            let Ok(all) = &found.standbys else {
                return false;
            };
            let is_sync = |one: &Standby| one.sync_state.as_deref() == Some("sync");
            all.iter().any(is_sync)
                && all
                    .iter()
                    .any(|one| one.name == "trailing" && one.behind.is_some())
        },
    );
    let standbys = found.await.standbys.unwrap();
    let of = |name: &str| {
        standbys
            .iter()
            .find(|standby| standby.name == name)
            .unwrap()
    };
    assert_eq!(of("in_step").sync_state.as_deref(), Some("sync"));
    assert_eq!(
        (
            of("trailing").sync_state.as_deref(),
            of("trailing").state.as_deref()
        ),
        (Some("async"), Some("streaming"))
    );
    assert!(of("trailing").behind.is_some());
}
