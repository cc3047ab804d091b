//! The databases under the scenes of a drill: SQLite files, PostgreSQL clusters of the drill's own,
//! or a database that the user names.

use std::path::Path;
use std::sync::Arc;

use surefoot_scratch_postgres::{
    ScratchError, ScratchOptions, ScratchPair, ScratchPostgres, SteppableClock,
};

use super::Fault;
use crate::config::Settings;
use crate::errors::Failure;
use crate::out;
use crate::place::{Address, Place};

/// Location of the stores.
#[derive(Debug)]
pub(super) enum Ground {
    Sqlite,
    /// A cluster that ends with this.
    Own(Box<ScratchPostgres>),
    /// A primary with its standby, which end with this.
    Pair(Box<ScratchPair>),
    /// A given database, in which each scenario has its own schema.
    Theirs(Address),
}

/// Location of the scenario of a fault.
pub(super) enum Site {
    On(Arc<Ground>),
    /// Nowhere on this machine, and why.
    Nowhere(String),
}

impl Ground {
    /// As the command line asks for it.
    pub(super) fn of(postgres: bool, settings: &Settings) -> Result<Self, Failure> {
        if postgres && settings.is_store_named {
            return Err(Failure::usage(
                "--postgres makes a cluster of the drill's own, and --store names another place",
            )
            .hint("give one of them; SUREFOOT_STORE counts as --store"));
        }
        match settings.address.as_ref() {
            _ if postgres => blocking(ScratchPostgres::start)
                .map(Box::new)
                .map(Self::Own),
            Some(url) if url.expose().starts_with("postgres") => Ok(Self::Theirs(url.clone())),
            // A scratch SQLite store serves as well and puts no real one at risk.
            _ => Ok(Self::Sqlite),
        }
    }

    /// The ground for the scene of a fault: this one, or servers that only this fault needs.
    pub(super) fn site(self: &Arc<Self>, fault: Fault) -> Result<Site, Failure> {
        let Self::Own(server) = self.as_ref() else {
            return Ok(Site::On(self.clone()));
        };
        let ground = match fault {
            Fault::ClockForward | Fault::ClockBack => {
                // Says what is missing before a cluster is made.
                if let Err(error) = SteppableClock::new() {
                    return Ok(Site::Nowhere(error.to_string()));
                }
                let options = ScratchOptions {
                    has_steppable_clock: true,
                    ..ScratchOptions::default()
                };
                Self::Own(Box::new(blocking(|| ScratchPostgres::with(options))?))
            }
            Fault::Failover => {
                const MAKES_STANDBYS: &str = "pg_basebackup";
                if !server.has_program(MAKES_STANDBYS) {
                    let why = format!("PostgreSQL's {MAKES_STANDBYS} is not with its server");
                    return Ok(Site::Nowhere(why));
                }
                Self::Pair(Box::new(blocking(ScratchPair::start)?))
            }
            _ => return Ok(Site::On(self.clone())),
        };
        Ok(Site::On(Arc::new(ground)))
    }

    /// Arguments of a scenario's workers beside the address: in a given database, the scratch
    /// schema.
    pub(super) fn config(&self, scene: &str) -> Option<String> {
        matches!(self, Self::Theirs(_))
            .then(|| format!("[postgres]\nschema = \"{}\"\n", schema(scene)))
    }

    /// The address of a new store for the scene in a folder.
    pub(super) fn address(&self, folder: &Path) -> Result<Address, Failure> {
        match self {
            Self::Sqlite => Ok(format!("sqlite:{}", folder.join("surefoot.db").display()).into()),
            Self::Own(server) => blocking(|| server.fresh_database()).map(Address::from),
            Self::Pair(pair) => Ok(pair.url_of("postgres").into()),
            Self::Theirs(url) => Ok(url.clone()),
        }
    }

    /// Removes from a given database the schemas that interrupted scenarios left.
    pub(super) async fn clean(&self, store: &Place, scenes: &[String]) {
        let (Self::Theirs(_), Place::Database(options)) = (self, store) else {
            return;
        };
        for schema in scenes.iter().map(|scene| schema(scene)) {
            if let Err(error) = options.clone().schema(&schema).drop_schema().await {
                out::say(&format!(
                    "the schema {schema} may be left in the database: {error}"
                ));
            }
        }
    }

    /// For people.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Own(_) | Self::Pair(_) => "PostgreSQL, a cluster of the drill's own",
            Self::Theirs(_) => "PostgreSQL, in scratch schemas",
        }
    }

    pub(super) fn is_embedded(&self) -> bool {
        matches!(self, Self::Sqlite)
    }
}

/// Of this drill and no other: two may go on in one database.
fn schema(scene: &str) -> String {
    format!(
        "surefoot_drill_{}_{}",
        std::process::id(),
        scene.replace('-', "_")
    )
}

/// Does with a server what takes its time. The program's other thread goes on meanwhile.
pub(super) fn blocking<T>(work: impl FnOnce() -> Result<T, ScratchError>) -> Result<T, Failure> {
    tokio::task::block_in_place(work)
        .map_err(|error| Failure::store(format!("the scratch PostgreSQL: {error}")))
}
