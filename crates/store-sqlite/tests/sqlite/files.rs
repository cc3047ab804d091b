//! Files that are opened, files that are refused, and the errors.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::{draft, file, new_store, queued, raw, register, started};
use surefoot::{Store, StoreError};
use surefoot_sqlite::SqliteStore;

/// Asserts that the file cannot be used, and that the message contains `part` and the path.
#[track_caller]
fn unusable(path: &Path, part: &str) {
    match SqliteStore::open(path) {
        Err(StoreError::Unusable(message)) => {
            assert!(
                message.contains(part) && message.contains(path.to_str().unwrap()),
                "{message}"
            );
        }
        other => panic!("expected an unusable store that says `{part}`, got {other:?}"),
    }
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let (_folder, path) = file();
    raw(&path)
        .execute_batch("CREATE TABLE theirs (id INTEGER)")
        .unwrap();
    let before = fs::read(&path).unwrap();
    unusable(&path, "the database of another program");
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_database_is_left_alone() {
    let (_folder, path) = file();
    let text =
        "Dear diary, this is longer than the header of a SQLite file, and says something else.\n"
            .repeat(20);
    fs::write(&path, &text).unwrap();
    unusable(&path, "not a SQLite database");
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_store_of_a_newer_build_is_left_alone() {
    let (_folder, path, store) = new_store();
    drop(store);
    raw(&path).pragma_update(None, "user_version", 700).unwrap();
    unusable(
        &path,
        "made by a newer surefoot (schema 700; this one knows ",
    );
    unusable(&path, "): upgrade, or use another file");
}

/// A store with the first schema and the rows of the store at `from`.
fn first_schema(path: &Path, from: &Path) {
    let sql = include_str!("../../migrations/0001_first.sql");
    let conn = raw(path);
    conn.execute_batch(sql).unwrap();
    let sum = surefoot::Digest::of(sql.as_bytes());
    conn.execute(
        "INSERT INTO migrations VALUES (1, 'first', ?1, 1)",
        [sum.as_bytes()],
    )
    .unwrap();
    conn.pragma_update(None, "application_id", 0x5375_7265)
        .unwrap();
    conn.pragma_update(None, "user_version", 1).unwrap();
    conn.execute("ATTACH ?1 AS newer", [from.to_str().unwrap()])
        .unwrap();
    for table in ["plans", "runs", "steps", "events"] {
        let columns = "SELECT group_concat(name) FROM pragma_table_info(?1, 'main')";
        let columns: String = conn.query_row(columns, [table], |row| row.get(0)).unwrap();
        conn.execute(
            &format!("INSERT INTO main.{table} ({columns}) SELECT {columns} FROM newer.{table}"),
            [],
        )
        .unwrap();
    }
}

#[tokio::test]
async fn a_store_of_the_first_schema_is_brought_up_to_date() {
    let (_folder, from, store) = new_store();
    let worker = register(&store, "w").await;
    let runs = [draft(&store), draft(&store)];
    store
        .submit(started(&store, &runs[0], worker))
        .await
        .unwrap();
    store.submit(queued(&store, &runs[1])).await.unwrap();
    let kept = [
        store.run(runs[0].id).await.unwrap(),
        store.run(runs[1].id).await.unwrap(),
    ];
    drop(store);
    let (_other, path) = file();
    first_schema(&path, &from);
    for _ in 0..2 {
        let store = SqliteStore::open(&path).unwrap();
        assert_eq!(
            [
                store.run(runs[0].id).await.unwrap(),
                store.run(runs[1].id).await.unwrap()
            ],
            kept
        );
        assert_eq!(store.events(runs[0].id, 0, 10).await.unwrap().len(), 3);
    }
}

#[test]
fn a_store_with_another_schema_of_this_version_is_left_alone() {
    let (_folder, path, store) = new_store();
    drop(store);
    raw(&path)
        .execute("UPDATE migrations SET sha256 = zeroblob(32)", [])
        .unwrap();
    unusable(&path, "another build of surefoot");
}

#[test]
fn a_path_that_cannot_be_a_file_is_named() {
    let (folder, path) = file();
    unusable(folder.path(), "it is a folder");
    unusable(
        &path.with_file_name("absent").join("surefoot.db"),
        "is not there",
    );
}

#[test]
fn a_file_with_two_names_is_refused_until_one_is_removed() {
    let (folder, path, store) = new_store();
    drop(store);
    let other = folder.path().join("other.db");
    fs::hard_link(&path, &other).unwrap();
    unusable(&path, "it has 2 names (hard links)");
    unusable(&other, "remove all but one");
    assert!(
        !other.with_extension("db-wal").exists(),
        "a store that is refused is not touched"
    );
    fs::remove_file(&path).unwrap();
    SqliteStore::open(&other).unwrap();
}

/// An open store keeps its locks when the file gets a second name and another store of the process
/// is refused.
#[test]
fn a_second_name_of_an_open_file_is_refused() {
    let (folder, path, _store) = new_store();
    let other = folder.path().join("other.db");
    fs::hard_link(&path, &other).unwrap();
    unusable(&other, "it has 2 names (hard links)");
}

#[test]
fn a_named_pipe_is_refused_without_waiting_for_a_writer() {
    let (_folder, path) = file();
    assert!(
        Command::new("mkfifo")
            .arg(&path)
            .status()
            .unwrap()
            .success()
    );
    unusable(&path, "it is not a regular file");
}

#[test]
fn a_symbolic_link_that_leads_nowhere_gets_its_file() {
    let (folder, path) = file();
    let link = folder.path().join("link.db");
    symlink(&path, &link).unwrap();
    let _store = SqliteStore::open(&link).unwrap();
    assert!(path.exists() && path.with_extension("db-wal").exists());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
}

/// Not a test by itself: opens a file that is a mount point, in a separate mount namespace.
#[test]
fn a_mounted_file_in_another_process() {
    let Some(path) = std::env::var_os("SUREFOOT_TEST_MOUNTED").map(PathBuf::from) else {
        return;
    };
    unusable(&path, "mount its folder instead");
    println!("refused the mounted file");
}

#[test]
fn a_file_that_is_mounted_by_itself_is_refused() {
    let (folder, path, store) = new_store();
    drop(store);
    let mounted = folder.path().join("mounted.db");
    fs::write(&mounted, "").unwrap();
    let script = r#"mount --bind "$1" "$SUREFOOT_TEST_MOUNTED" || exit 77
                    exec "$2" --exact files::a_mounted_file_in_another_process --nocapture"#;
    let mut child = Command::new("unshare");
    child.args([
        "--user",
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
    ]);
    child
        .arg(&path)
        .arg(std::env::current_exe().unwrap())
        .env("SUREFOOT_TEST_MOUNTED", &mounted);
    let Ok(output) = child.output() else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    let is_allowed = output.status.code() != Some(77)
        && !String::from_utf8_lossy(&output.stderr).contains("unshare");
    assert!(
        !is_allowed || said.contains("refused the mounted file"),
        "{output:?}"
    );
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let (folder, path) = file();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.path().join("probe"), "").is_ok() {
        return; // Permissions do not bind root.
    }
    match SqliteStore::open(&path) {
        Err(StoreError::Unavailable(message)) => {
            assert!(message.contains(path.to_str().unwrap()), "{message}")
        }
        other => panic!("expected an unavailable store, got {other:?}"),
    }
}

#[tokio::test]
async fn written_data_is_there_after_reopening() {
    let (_folder, path, store) = new_store();
    let run = draft(&store);
    store.submit(queued(&store, &run)).await.unwrap();
    drop(store);
    assert!(
        !path.with_extension("db-wal").exists(),
        "a store that is closed leaves one file"
    );
    let store = SqliteStore::open(&path).unwrap();
    assert_eq!(store.run(run.id).await.unwrap(), Some(run));
}

/// The best of many, because other tests run at the same time.
#[test]
fn opening_takes_less_than_ten_milliseconds() {
    let (_folder, path, store) = new_store();
    drop(store);
    let open = || {
        let start = Instant::now();
        let store = SqliteStore::open(&path).unwrap();
        (start.elapsed(), store).0
    };
    let begin = Instant::now();
    let mut best = Duration::MAX;
    for _ in 0..300 {
        best = best.min(open());
        if best < Duration::from_millis(10) || begin.elapsed() > Duration::from_secs(30) {
            break;
        }
    }
    assert!(best < Duration::from_millis(10), "{best:?}");
}

#[test]
fn two_processes_can_create_a_store_concurrently() {
    for _ in 0..20 {
        let (_folder, path) = file();
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| SqliteStore::open(&path).map(drop)))
                .collect();
            for thread in threads {
                thread.join().unwrap().unwrap();
            }
        });
    }
}
