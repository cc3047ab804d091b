//! Connections of a worker that fall silent: nothing comes through any more, and nothing is
//! closed.

use std::time::Duration;

use surefoot_scratch_postgres::{ScratchProxy, Silence};

use super::super::ground::{Ground, blocking};
use super::super::moves::Break;
use super::super::scene::{Injected, SOON, Scene};
use super::{Came, database};
use crate::errors::Failure;

/// The time limit of an operation (`postgres.operation_timeout`), by which a result on a silent
/// connection is sent again, and a second.
const LIMIT: Duration = Duration::from_secs(11);

/// Silences the connection of a worker's heartbeats, and when that was given up all its
/// connections.
pub(super) async fn connections(scene: &mut Scene) -> Result<Came, Failure> {
    let ground = scene.ground.clone();
    let server = match ground.as_ref() {
        Ground::Own(server) => server,
        Ground::Sqlite => {
            return Ok(Came::Skipped(
                "SQLite is a file: there is no connection that could fall silent".to_owned(),
            ));
        }
        Ground::Theirs(_) | Ground::Pair(_) => return Ok(database::not_ours()),
    };
    let proxy = blocking(|| ScratchProxy::start(server.port()))?;
    let address = scene.address.expose().to_owned();
    let database = address.rsplit('/').next().unwrap_or_default();
    scene.first_worker = vec![("SUREFOOT_STORE", proxy.url_of(database).into())];
    let crew = scene.crew().await?;
    // A connection is known by its first heartbeat, which may be on its way.
    let heartbeats = scene
        .until("a connection with heartbeats", SOON, async || {
            let silenced = proxy.silence(Silence::Heartbeats);
            Ok((silenced > 0).then_some(silenced))
        })
        .await?;
    scene
        .until("a heartbeat to be given up", SOON, async || {
            // The next heartbeat may use another connection of the pool.
            proxy.silence(Silence::Heartbeats);
            Ok((proxy.given_up() > 0).then_some(()))
        })
        .await?;
    let running = database::running(scene).await;
    let all = proxy.silence(Silence::All);
    let breaks = vec![Break {
        back: scene.now(),
        running,
    }];
    Ok(Injected {
        crew,
        breaks,
        limit: Some(LIMIT),
        notes: vec![format!(
            "{heartbeats} connection with heartbeats fell silent, and then all {all} of the worker"
        )],
        ..Injected::default()
    }
    .into())
}
