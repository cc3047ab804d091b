//! A database that does not answer.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::super::moves::Break;
use super::super::scene::{Injected, Scene, Submitted};
use super::Came;
use crate::errors::Failure;

/// How long another program holds the write lock.
const REFUSES: Duration = Duration::from_secs(10);

/// Exit status of a command that finds no store.
const AWAY: i32 = 3;

/// Refuses every write for a while.
pub(super) async fn refuses(scene: &mut Scene) -> Result<Came, Failure> {
    let crew = scene.crew().await?;
    let lock = lock(scene)?;
    tokio::time::sleep(REFUSES).await;
    let broken = unlock(scene, lock).await;
    Ok(Injected { crew, breaks: vec![broken], ..Injected::default() }.into())
}

/// Submits meanwhile, and again when it is back.
pub(super) async fn submit(scene: &mut Scene) -> Result<Came, Failure> {
    let mut injected = Injected { crew: scene.crew().await?, ..Injected::default() };
    let lock = lock(scene)?;
    refused(scene, &mut injected).await?;
    let broken = unlock(scene, lock).await;
    injected.breaks.push(broken);
    accepted(scene, &mut injected).await?;
    Ok(injected.into())
}

/// A submission that must be refused at once, with a reason, so that its sender can try again.
pub(super) async fn refused(scene: &Scene, injected: &mut Injected) -> Result<(), Failure> {
    let (output, took) = scene.submit_late("late").await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let (status, seconds) = (output.status.code(), took.as_secs_f64());
    if status != Some(AWAY) || !said.contains("try again") {
        injected.wrong.push(format!("`surefoot submit` meanwhile ended with {}: {said}", output.status));
    } else {
        injected.notes.push(format!("`surefoot submit` meanwhile: exit status 3 after {seconds:.1} s"));
    }
    Ok(())
}

/// The same submission again, which must succeed, and counts like every other.
pub(super) async fn accepted(scene: &mut Scene, injected: &mut Injected) -> Result<(), Failure> {
    let (output, _) = scene.submit_late("late").await?;
    match String::from_utf8_lossy(&output.stdout).trim().parse() {
        Ok(run) if output.status.success() => scene.projects.push(Submitted { name: "late".to_owned(), run }),
        _ => injected.wrong.push(format!("the same submission again ended with {}", output.status)),
    }
    Ok(())
}

/// Takes the write lock, as a backup or a forgotten shell does.
fn lock(scene: &Scene) -> Result<Connection, Failure> {
    let locked = |error: rusqlite::Error| Failure::store(format!("cannot lock the database: {error}"));
    let path = scene.address.trim_start_matches("sqlite:");
    let lock = Connection::open(Path::new(path)).map_err(locked)?;
    lock.busy_timeout(Duration::from_secs(10)).map_err(locked)?;
    lock.execute_batch("BEGIN IMMEDIATE").map_err(locked)?;
    Ok(lock)
}

async fn unlock(scene: &Scene, lock: Connection) -> Break {
    let running = scene.running().await.iter().map(|run| run.id).collect();
    let back = scene.now();
    drop(lock);
    Break { back, running }
}
