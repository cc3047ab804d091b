//! The server: its settings, and who follows it.

use std::path::PathBuf;

use surefoot::StoreError;

use super::ask;
use super::rows::first;
use crate::connect::Session;

/// The settings that a crash cares for, as they are in a session of the store's user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `server_version_num`: 150004 is 15.4.
    pub version: u32,
    /// Whether anything is forced to the disk.
    pub fsync: bool,
    /// `on`, `off`, `local`, `remote_write` or `remote_apply`, before the store's sessions set it.
    pub synchronous_commit: String,
    /// Whether a page torn by a power cut can be restored.
    pub full_page_writes: bool,
    /// `minimal`, `replica` or `logical`.
    pub wal_level: String,
    /// Which standbys a commit waits for; empty for none.
    pub synchronous_standby_names: String,
    /// Whether damage on the disk is noticed.
    pub data_checksums: bool,
    /// Whether dead rows are removed by themselves.
    pub autovacuum: bool,
    /// Connections that it takes from others than superusers.
    pub max_connections: u64,
    /// Whether it is a standby itself, which cannot be written.
    pub in_recovery: bool,
}

impl Settings {
    /// Whether a commit waits for a standby.
    pub fn waits_for_standby(&self) -> bool {
        !self.synchronous_standby_names.trim().is_empty()
    }
}

/// A server that follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standby {
    /// Its application name or address.
    pub name: String,
    /// `streaming`, `catchup`...; `None` when this user may not see it.
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

/// A folder of that name on this host is the server's only when the server is on this host.
pub(super) async fn folder(session: &Session) -> Option<PathBuf> {
    let row = first(
        ask(session, include_str!("../../sql/facts/folder.sql"))
            .await
            .ok()?,
    )
    .ok()?;
    row.text("folder")
        .filter(|_| row.flag("here"))
        .map(PathBuf::from)
}
