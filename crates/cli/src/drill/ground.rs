//! What the scenes of a drill stand on: SQLite files, a PostgreSQL cluster of the drill's own, or somebody else's.

use std::path::Path;

use surefoot_scratch_postgres::{ScratchError, ScratchPostgres};

use crate::args::Drill;
use crate::errors::Failure;

/// Where the stores are.
#[derive(Debug)]
pub(super) enum Ground {
    Sqlite,
    /// A cluster that ends with this.
    Own(ScratchPostgres),
    /// Somebody's database, in which each scene has a schema of its own.
    Theirs(String),
}

impl Ground {
    /// As the command line asks for it.
    pub(super) fn of(args: &Drill, store: Option<&str>) -> Result<Self, Failure> {
        match store {
            _ if args.postgres => blocking(ScratchPostgres::start).map(Self::Own),
            Some(url) if url.starts_with("postgres") => Ok(Self::Theirs(url.to_owned())),
            // Another SQLite store is as good as a scratch one, and nobody's real one is put at risk.
            _ => Ok(Self::Sqlite),
        }
    }

    /// The address of a new store for the scene in a folder.
    pub(super) fn address(&self, folder: &Path) -> Result<String, Failure> {
        match self {
            Self::Sqlite => Ok(format!("sqlite:{}", folder.join("surefoot.db").display())),
            Self::Own(server) => blocking(|| server.fresh_database()),
            Self::Theirs(url) => Ok(url.clone()),
        }
    }

    /// For people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Own(_) => "PostgreSQL, a cluster of the drill's own",
            Self::Theirs(_) => "PostgreSQL, in scratch schemas",
        }
    }

    pub(super) fn is_embedded(&self) -> bool {
        matches!(self, Self::Sqlite)
    }
}

/// Does with a server what takes its time. The program's other thread goes on meanwhile.
pub(super) fn blocking<T>(work: impl FnOnce() -> Result<T, ScratchError>) -> Result<T, Failure> {
    tokio::task::block_in_place(work).map_err(|error| Failure::store(format!("the scratch PostgreSQL: {error}")))
}
