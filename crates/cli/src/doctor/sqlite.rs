//! The embedded store: how it writes, what is under its file, whether the file is whole, and who
//! works.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use surefoot::{Store, StoreError};
use surefoot_doctor::text::bytes;
use surefoot_doctor::{Finding, file_system, free_space, fsync};
use surefoot_sqlite::{Integrity, LockHolder, SqliteFacts, SqliteStore};

use super::{STORE, away, seen};

/// The longest that the file is looked through.
const LOOK: Duration = Duration::from_secs(5);

/// Looks at the store at `path`, and gives it for further questions; makes none when there is none.
pub(super) async fn examine(path: &Path) -> (Vec<Finding>, Option<Arc<dyn Store>>) {
    let mut findings = under(path);
    if !path.try_exists().unwrap_or(true) {
        let found = format!("there is none at {} yet", path.display());
        findings.insert(
            0,
            Finding::note(STORE, found, "there is nothing to lose yet")
                .advice("`surefoot init NAME` makes it"),
        );
        return (findings, None);
    }
    let store = match SqliteStore::open(path) {
        Ok(store) => Arc::new(store),
        Err(error) => {
            findings.insert(0, away(&error));
            return (findings, None);
        }
    };
    let (commits, log) = match store.facts().await {
        Ok(facts) => (vec![commits(&facts)], vec![log(&facts)]),
        Err(error) => (seen("commits", Err(error)), Vec::new()),
    };
    findings.splice(0..0, commits);
    findings.push(integrity(store.quick_check(LOOK).await));
    findings.extend(log);
    findings.extend(seen(
        "worker lock",
        lock(&store).await.map(|finding| vec![finding]),
    ));
    (findings, Some(store))
}

/// Findings about the file system below the file, which need not exist yet.
fn under(path: &Path) -> Vec<Finding> {
    let folder = path.parent().unwrap_or(path);
    let mut findings = vec![
        file_system(path, "the store"),
        free_space("free disk", path),
    ];
    if folder.is_dir() {
        findings.insert(1, fsync(folder));
    }
    findings
}

fn commits(facts: &SqliteFacts) -> Finding {
    const SUBJECT: &str = "commits";
    let word =
        ["off", "normal", "full", "extra"].get(usize::try_from(facts.synchronous).unwrap_or(9));
    let word = word.map_or_else(|| facts.synchronous.to_string(), |word| (*word).to_owned());
    let found = format!(
        "SQLite {}, journal_mode={}, synchronous={word}, schema {}",
        facts.version, facts.journal_mode, facts.schema
    );
    let synced = facts.synchronous >= 2 && (facts.fullfsync || !cfg!(target_os = "macos"));
    match facts.journal_mode.as_str() {
        "wal" if synced => Finding::ok(
            SUBJECT,
            found,
            "a commit is synced to the disk before it is acknowledged",
        ),
        "delete" | "truncate" | "persist" if synced => {
            let means = "a commit is synced before it is acknowledged, but readers wait for the writer: this file system has \
                         no memory that processes share";
            Finding::warn(SUBJECT, found, means).advice("keep the store on a disk of this machine")
        }
        "wal" | "delete" | "truncate" | "persist" => {
            let means = "a power cut loses the last commits although they were acknowledged: promise 1 does not hold";
            Finding::broken(SUBJECT, found, means)
                .advice("open the store with synchronous=FULL; on macOS fullfsync too")
        }
        _ => {
            let means =
                "a crash in the middle of a commit destroys the file: promises 1 and 9 do not hold";
            Finding::broken(SUBJECT, found, means).advice("journal_mode=WAL")
        }
    }
}

fn integrity(found: Result<Integrity, StoreError>) -> Finding {
    const SUBJECT: &str = "integrity";
    let means = "runs may be lost or wrong already; what is written now may be lost too";
    const ADVICE: &str = "stop the worker, copy the file with its -wal, and restore a backup or `sqlite3 FILE .recover`";
    match found {
        Ok(Integrity::Whole) => Finding::ok(
            SUBJECT,
            "quick_check finds the file whole",
            "what was written can be read",
        ),
        Ok(Integrity::Unfinished) => Finding::note(
            SUBJECT,
            "the file is too large to be looked through in 5 s",
            "no damage was met; the rest was not looked at",
        )
        .advice("`sqlite3 FILE 'PRAGMA integrity_check'` in a quiet hour"),
        Ok(Integrity::Damaged(lines)) => {
            Finding::broken(SUBJECT, format!("damaged: {}", lines.join("; ")), means).advice(ADVICE)
        }
        Err(error) => {
            Finding::broken(SUBJECT, format!("cannot be read: {error}"), means).advice(ADVICE)
        }
    }
}

/// A log this many times larger than when it should have been moved was kept from it.
const STARVED: u64 = 8;

fn log(facts: &SqliteFacts) -> Finding {
    const SUBJECT: &str = "write-ahead log";
    let found = format!(
        "{} beside {} of database ({} free in it)",
        bytes(facts.log),
        bytes(facts.size),
        bytes(facts.free)
    );
    if facts.log > facts.checkpoint * STARVED {
        let means = "nothing is lost, but the next start after a crash reads all of it first, and reads slow down";
        return Finding::warn(SUBJECT, found, means).advice(
            "something holds an old read open: end other programs that have the file open",
        );
    }
    Finding::ok(
        SUBJECT,
        found,
        "what a start after a crash has to read is small",
    )
}

/// A process that holds the lock without a lease is frozen, or cannot write: no other may take
/// over.
async fn lock(store: &SqliteStore) -> Result<Finding, StoreError> {
    const SUBJECT: &str = "worker lock";
    let holder = match store.lock_holder() {
        Ok(holder) => holder,
        Err(error) => return Ok(Finding::unknown(SUBJECT, error)),
    };
    let alive = !store.workers().await?.is_empty();
    Ok(match (holder, alive) {
        (LockHolder::Free, false) => {
            Finding::ok(SUBJECT, "it is free", "the next process may become the worker")
        }
        (LockHolder::Free, true) => Finding::note(
            SUBJECT,
            "it is free, although a worker's lease has not run out",
            "that worker has just died: the next one takes its runs up at once",
        )
        .advice("start one with `surefoot worker`"),
        (LockHolder::Process(pid), true) => Finding::ok(
            SUBJECT,
            format!("process {pid} holds it"),
            "no second worker can live on this file, by whatever path; the lock ends with that process",
        ),
        (LockHolder::Process(pid), false) => Finding::broken(
            SUBJECT,
            format!("process {pid} holds it, and has not renewed its lease"),
            "it is frozen, starved or cannot write, and no other process can take over while it lives: every run stands still \
             (promise 4 does not hold)",
        )
        .advice(format!("see what process {pid} does; wake it (kill -CONT {pid}) or end it: another then carries on")),
    })
}

#[cfg(test)]
mod tests {
    use surefoot_doctor::Level;

    use super::*;

    fn facts(journal_mode: &str, synchronous: i64) -> SqliteFacts {
        SqliteFacts {
            version: "3.50.2".to_owned(),
            journal_mode: journal_mode.to_owned(),
            synchronous,
            fullfsync: true,
            schema: 1,
            size: 1 << 20,
            free: 0,
            log: 0,
            checkpoint: 16 << 20,
        }
    }

    #[test]
    fn how_commits_are_written_is_judged() {
        let check = |journal, synchronous, level| {
            assert_eq!(commits(&facts(journal, synchronous)).level, level)
        };
        check("wal", 2, Level::Ok);
        check("wal", 3, Level::Ok);
        check("delete", 2, Level::Warn);
        check("wal", 1, Level::Broken);
        check("delete", 0, Level::Broken);
        check("memory", 2, Level::Broken);
        check("off", 2, Level::Broken);
    }

    #[test]
    fn a_log_that_is_never_moved_is_told() {
        assert_eq!(
            log(&SqliteFacts {
                log: 16 << 20,
                ..facts("wal", 2)
            })
            .level,
            Level::Ok
        );
        assert_eq!(
            log(&SqliteFacts {
                log: 200 << 20,
                ..facts("wal", 2)
            })
            .level,
            Level::Warn
        );
    }

    #[test]
    fn damage_is_told() {
        let damaged = integrity(Ok(Integrity::Damaged(vec![
            "row 3 missing from index".to_owned(),
        ])));
        assert_eq!(
            (damaged.level, damaged.found.as_str()),
            (Level::Broken, "damaged: row 3 missing from index")
        );
        assert_eq!(integrity(Ok(Integrity::Unfinished)).level, Level::Note);
    }
}
