//! The server: its settings and standbys.

use std::path::PathBuf;

use surefoot::StoreError;

use super::ask;
use super::rows::first;
use crate::connect::Session;

/// Settings that matter for a crash, in a session of the store's user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `server_version_num`: 150004 is 15.4.
    pub version: u32,
    /// True if data is forced to the disk.
    pub fsync: bool,
    /// `on`, `off`, `local`, `remote_write` or `remote_apply`, before the store's sessions set it.
    pub synchronous_commit: String,
    /// True if a page torn by a power cut can be restored.
    pub full_page_writes: bool,
    /// `minimal`, `replica` or `logical`.
    pub wal_level: String,
    /// Standbys that a commit waits for; empty for none.
    pub synchronous_standby_names: String,
    /// True if damage on the disk is detected.
    pub data_checksums: bool,
    /// True if dead rows are removed automatically.
    pub autovacuum: bool,
    /// Connections that it accepts from roles other than superusers.
    pub max_connections: u64,
    /// True if it is itself a standby, which cannot be written.
    pub in_recovery: bool,
}

impl Settings {
    /// Returns whether a commit waits for a standby.
    pub fn waits_for_standby(&self) -> bool {
        !self.synchronous_standby_names.trim().is_empty()
    }
}

/// A standby of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    /// Its application name or address.
    pub name: String,
    /// `streaming`, `catchup`...; `None` if this role may not see it.
    pub state: Option<String>,
    /// `sync`, `quorum`, `potential` or `async`.
    pub sync_state: Option<String>,
    /// Bytes of the log that are not on its disk yet.
    pub behind: Option<u64>,
}

pub(super) async fn settings(session: &Session) -> Result<Settings, StoreError> {
    let row = first(ask(session, include_str!("../../sql/facts/settings.sql")).await?)?;
    let text = |name: &str| row.text(name).unwrap_or_default();
    let taken_away = row.size("reserved_connections").unwrap_or(0);
    Ok(Settings {
        version: row
            .number("version")
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or(0),
        fsync: row.flag("fsync"),
        synchronous_commit: session.synchronous_commit().to_owned(),
        full_page_writes: row.flag("full_page_writes"),
        wal_level: text("wal_level"),
        synchronous_standby_names: text("synchronous_standby_names"),
        data_checksums: row.flag("data_checksums"),
        autovacuum: row.flag("autovacuum"),
        max_connections: row
            .size("max_connections")
            .unwrap_or(0)
            .saturating_sub(taken_away),
        in_recovery: row.flag("in_recovery"),
    })
}

pub(super) async fn standbys(session: &Session) -> Result<Vec<Standby>, StoreError> {
    let rows = ask(session, include_str!("../../sql/facts/standbys.sql")).await?;
    let standby = |row: super::rows::Row| Standby {
        name: row.text("name").unwrap_or_default(),
        state: row.text("state"),
        sync_state: row.text("sync_state"),
        behind: row.size("behind"),
    };
    Ok(rows.into_iter().map(standby).collect())
}

/// A directory of that name on this host is the server's only if the server runs on this host.
pub(super) async fn folder(session: &Session) -> Option<PathBuf> {
    let row = first(
        ask(session, include_str!("../../sql/facts/folder.sql"))
            .await
            .ok()?,
    )
    .ok()?;
    if !row.flag("here") {
        return None;
    }
    row.text("folder").map(PathBuf::from)
}
