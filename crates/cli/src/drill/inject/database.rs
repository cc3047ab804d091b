//! A database that goes away, or does not answer.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;
use surefoot::RunId;
use surefoot_scratch_postgres::{ScratchPostgres, Stop};

use super::super::ground::{Ground, blocking};
use super::super::moves::Break;
use super::super::scene::{Injected, Scene, Submitted};
use super::Came;
use crate::errors::Failure;

/// Time for which it refuses connections.
const REFUSES: Duration = Duration::from_secs(10);

/// Exit status of a command that finds no store.
const AWAY: i32 = 3;

/// The longest that a sender is left without an answer: two of the store's own time limits, and the
/// start of a process.
const ANSWER: Duration = Duration::from_secs(11);

/// Ends the database in this way and starts it again after a while.
pub(super) async fn away(scene: &mut Scene, how: Stop, time: Duration) -> Result<Came, Failure> {
    let ground = scene.ground.clone();
    let server = match ground.as_ref() {
        Ground::Own(server) => server,
        Ground::Sqlite => {
            return Ok(Came::Skipped(
                "SQLite is a file: there is no server that could go away".to_owned(),
            ));
        }
        Ground::Theirs(_) | Ground::Pair(_) => return Ok(not_ours()),
    };
    let mut injected = Injected {
        crew: scene.crew().await?,
        ..Injected::default()
    };
    let running = running(scene).await;
    blocking(|| server.stop(how))?;
    tokio::time::sleep(time).await;
    injected.breaks.push(start(scene, server, running)?);
    Ok(injected.into())
}

/// Refuses for a while.
pub(super) async fn refuses(scene: &mut Scene) -> Result<Came, Failure> {
    let ground = scene.ground.clone();
    if let Ground::Theirs(_) = ground.as_ref() {
        return Ok(not_ours());
    }
    let crew = scene.crew().await?;
    let running = running(scene).await;
    let broken = match ground.as_ref() {
        Ground::Own(server) => {
            blocking(|| server.refuse())?;
            tokio::time::sleep(REFUSES).await;
            let back = scene.now();
            blocking(|| server.accept())?;
            Break { back, running }
        }
        _ => {
            let lock = lock(scene)?;
            tokio::time::sleep(REFUSES).await;
            unlock(scene, lock, running)
        }
    };
    Ok(Injected {
        crew,
        breaks: vec![broken],
        ..Injected::default()
    }
    .into())
}

/// Kills the primary, and promotes its standby.
pub(super) async fn fail_over(scene: &mut Scene) -> Result<Came, Failure> {
    let ground = scene.ground.clone();
    let pair = match ground.as_ref() {
        Ground::Pair(pair) => pair,
        Ground::Sqlite => {
            return Ok(Came::Skipped(
                "SQLite is a file: it has no standby".to_owned(),
            ));
        }
        Ground::Theirs(_) | Ground::Own(_) => return Ok(not_ours()),
    };
    let crew = scene.crew().await?;
    let running = running(scene).await;
    blocking(|| pair.fail_over())?;
    let breaks = vec![Break {
        back: scene.now(),
        running,
    }];
    Ok(Injected {
        crew,
        breaks,
        ..Injected::default()
    }
    .into())
}

/// Submits while it is away, and again when it is back.
pub(super) async fn submit(scene: &mut Scene) -> Result<Came, Failure> {
    let ground = scene.ground.clone();
    if let Ground::Theirs(_) = ground.as_ref() {
        return Ok(not_ours());
    }
    let mut injected = Injected {
        crew: scene.crew().await?,
        ..Injected::default()
    };
    let running = running(scene).await;
    let broken = match ground.as_ref() {
        Ground::Own(server) => {
            blocking(|| server.stop(Stop::Fast))?;
            refused(scene, &mut injected).await?;
            start(scene, server, running)?
        }
        _ => {
            let lock = lock(scene)?;
            refused(scene, &mut injected).await?;
            unlock(scene, lock, running)
        }
    };
    injected.breaks.push(broken);
    accepted(scene, &mut injected).await?;
    Ok(injected.into())
}

pub(super) fn not_ours() -> Came {
    Came::Skipped(
        "the database's process is not the drill's: --postgres starts one that is".to_owned(),
    )
}

pub(super) async fn running(scene: &Scene) -> Vec<RunId> {
    scene.running().await.iter().map(|run| run.id).collect()
}

fn start(scene: &Scene, server: &ScratchPostgres, running: Vec<RunId>) -> Result<Break, Failure> {
    blocking(|| server.start_again())?;
    Ok(Break {
        back: scene.now(),
        running,
    })
}

/// A submission that must be refused at once, with a reason, so that its sender can try again.
pub(super) async fn refused(scene: &Scene, injected: &mut Injected) -> Result<(), Failure> {
    let (output, took) = scene.submit_late("late").await?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.code() != Some(AWAY) || !said.contains("try again") {
        injected.wrong.push(format!(
            "`surefoot submit` meanwhile ended with {}: {said}",
            output.status
        ));
    } else if took > ANSWER {
        injected.wrong.push(format!(
            "`surefoot submit` meanwhile took {took:.1?} to be refused"
        ));
    } else {
        injected.notes.push(format!(
            "`surefoot submit` meanwhile: exit status 3 after {:.1} s",
            took.as_secs_f64()
        ));
    }
    Ok(())
}

/// The same submission again, which must succeed, and counts like every other.
pub(super) async fn accepted(scene: &mut Scene, injected: &mut Injected) -> Result<(), Failure> {
    let (output, _) = scene.submit_late("late").await?;
    match String::from_utf8_lossy(&output.stdout).trim().parse() {
        Ok(run) if output.status.success() => scene.projects.push(Submitted {
            name: "late".to_owned(),
            run,
            initializes: true,
        }),
        _ => injected.wrong.push(format!(
            "the same submission again ended with {}",
            output.status
        )),
    }
    Ok(())
}

/// Takes the write lock, as a backup or a forgotten shell does.
fn lock(scene: &Scene) -> Result<Connection, Failure> {
    let locked =
        |error: rusqlite::Error| Failure::store(format!("cannot lock the database: {error}"));
    let path = scene.address.expose().trim_start_matches("sqlite:");
    let lock = Connection::open(Path::new(path)).map_err(locked)?;
    lock.busy_timeout(Duration::from_secs(10)).map_err(locked)?;
    lock.execute_batch("BEGIN IMMEDIATE").map_err(locked)?;
    Ok(lock)
}

fn unlock(scene: &Scene, lock: Connection, running: Vec<RunId>) -> Break {
    let back = scene.now();
    drop(lock);
    Break { back, running }
}
