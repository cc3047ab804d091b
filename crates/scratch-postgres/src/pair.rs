//! A primary and its synchronous standby, reached by one URL with both hosts.

use crate::cluster::{ScratchPostgres, Stop};
use crate::error::ScratchError;

/// Two servers, the second of which takes the place of the first when that fails.
#[derive(Debug)]
pub struct ScratchPair {
    primary: ScratchPostgres,
    standby: ScratchPostgres,
}

impl ScratchPair {
    /// Starts both. Each commit of the primary waits for the standby.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, does not come up, or does not replicate.
    pub fn start() -> Result<Self, ScratchError> {
        let primary = ScratchPostgres::start()?;
        let standby = primary.synchronous_standby("standby")?;
        Ok(Self { primary, standby })
    }

    /// URL of a database for the superuser, on the one of the two servers that accepts writes.
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}?target_session_attrs=read-write",
            self.primary.port(),
            self.standby.port()
        )
    }

    /// Kills the primary and promotes the standby. Returns once that accepts writes.
    ///
    /// # Errors
    /// When the primary is not running, or the standby is not promoted.
    pub fn fail_over(&self) -> Result<(), ScratchError> {
        self.primary.stop(Stop::Kill)?;
        self.standby.promote()
    }
}
