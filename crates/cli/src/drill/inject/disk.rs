//! A disk that is full: a real one of a few megabytes, in a mount namespace of the drill's own,
//! which needs no rights. The drill calls itself inside. Limits on the size of files (RLIMIT_FSIZE)
//! were rejected: they give another error than a full disk does, and the worker's commands inherit
//! them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use super::super::ground::Ground;
use super::super::moves::Break;
use super::super::report::Row;
use super::super::scene::{Injected, SOON, Scene};
use super::super::workers;
use super::{Came, database};
use crate::errors::{Failure, unusable};

/// Longer than a lease.
const FULL: Duration = Duration::from_secs(8);

/// Mounts the file system and goes on as the drill. `$1` is its size, `$2` where it is, and the
/// rest the drill's command.
const SCRIPT: &str = r#"mount -t tmpfs -o "size=$1m" tmpfs "$2" || exit 77; shift 2; exec "$@""#;

/// The exit status of a machine that gives no mount namespace.
const NO_MOUNT: i32 = 77;

/// Runs the drill of this one fault with its store on a small disk, and gives its row.
pub(in super::super) async fn small_disk(
    projects: u32,
    folder: &Path,
    ground: &Ground,
) -> Result<Row, Failure> {
    if !ground.is_embedded() {
        let why = "the disk is the server's and not the worker's: to a worker it is a database that refuses";
        return Ok(Row::skipped(super::Fault::DiskFull, why));
    }
    let disk = folder.join("disk");
    std::fs::create_dir_all(&disk).map_err(|error| unusable("make the folder", &disk, &error))?;
    let group = surefoot_initializer::process::Group::start();
    let mut group =
        group.map_err(|error| Failure::usage(format!("cannot start a process: {error}")))?;
    let mut command = tokio::process::Command::new("unshare");
    // Room for all projects and a write-ahead log: what is left over is filled.
    let megabytes = (16 + projects).to_string();
    command
        .args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            SCRIPT,
            "sh",
            &megabytes,
        ])
        .arg(&disk);
    command.arg(workers::executable()?.as_std().get_program());
    command.args([
        "drill",
        "--json",
        "--fault",
        "disk-full",
        "--projects",
        &projects.to_string(),
        "--keep",
    ]);
    command.arg(folder).arg("--small-disk").arg(&disk);
    command
        .env_remove("SUREFOOT_STORE")
        .stdin(Stdio::null())
        .process_group(group.id())
        .kill_on_drop(true);
    let output = command.output().await;
    group.end().await;
    match output {
        Err(error) => Ok(Row::skipped(
            super::Fault::DiskFull,
            &format!("`unshare` cannot be run: {error}"),
        )),
        Ok(output) if output.status.code() == Some(NO_MOUNT) || output.stdout.is_empty() => {
            let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
            Ok(Row::skipped(
                super::Fault::DiskFull,
                &format!("no file system can be mounted here: {said}"),
            ))
        }
        Ok(output) => Row::of_json(&output.stdout),
    }
}

/// Fills the disk until the worker says that it cannot write, submits, waits for longer than a
/// lease, and makes room.
pub(super) async fn full(scene: &mut Scene) -> Result<Came, Failure> {
    let mut injected = Injected {
        crew: scene.crew().await?,
        ..Injected::default()
    };
    let store = PathBuf::from(scene.address.expose().trim_start_matches("sqlite:"));
    let filler = store.with_file_name("filler");
    let mut bytes = fill(&filler).map_err(|error| unusable("fill", &filler, &error))?;
    scene
        .until("the worker to find the disk full", SOON, async || {
            // Space freed meanwhile, as by a checkpoint, is filled too.
            bytes += fill(&filler).map_err(|error| unusable("fill", &filler, &error))?;
            Ok(injected
                .crew
                .iter()
                .any(|worker| worker.said().contains("cannot be written"))
                .then_some(()))
        })
        .await?;
    tokio::time::sleep(FULL).await;
    database::refused(scene, &mut injected).await?;
    let running = scene.running().await.iter().map(|run| run.id).collect();
    let back = scene.now();
    std::fs::remove_file(&filler).map_err(|error| unusable("remove", &filler, &error))?;
    injected.breaks.push(Break { back, running });
    injected.notes.push(format!(
        "a real file system, filled with {} KB to the last byte; the store alone was on it",
        bytes / 1024
    ));
    database::accepted(scene, &mut injected).await?;
    Ok(injected.into())
}

/// Writes until there is no room for another byte.
fn fill(path: &Path) -> std::io::Result<usize> {
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .open(path)?;
    let mut bytes = 0;
    let mut piece = 4096;
    while piece > 0 {
        match file.write(&vec![b'x'; piece]) {
            Ok(written) => bytes += written,
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => piece /= 2,
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}
