//! Location of PostgreSQL's programs.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::ScratchError;

/// Directory of `initdb`, `postgres` and `psql`: `SUREFOOT_PG_BIN`, else from the `PATH`, else the
/// newest in Debian's location.
pub(crate) fn postgres() -> Result<PathBuf, ScratchError> {
    let named = env::var_os("SUREFOOT_PG_BIN").map(PathBuf::from);
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| {
            versions
                .flatten()
                .map(|version| version.path().join("bin"))
                .collect()
        })
        .unwrap_or_default();
    debian.sort_by_key(|bin| std::cmp::Reverse(version(bin)));
    let whole = |folder: &PathBuf| {
        ["initdb", "postgres", "psql"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    named.into_iter().chain(on_path()).chain(debian).find(whole).ok_or_else(|| {
        ScratchError(
            "PostgreSQL's programs (initdb, postgres, psql) are nowhere: install the Debian package postgresql, or name their \
             folder in SUREFOOT_PG_BIN"
                .to_owned(),
        )
    })
}

/// PgBouncer's program.
pub(crate) fn pgbouncer() -> Result<PathBuf, ScratchError> {
    let sbin = PathBuf::from("/usr/sbin");
    let found = on_path()
        .chain([sbin])
        .map(|folder| folder.join("pgbouncer"))
        .find(|program| program.exists());
    found.ok_or_else(|| {
        ScratchError("pgbouncer is nowhere: install the Debian package pgbouncer".to_owned())
    })
}

/// The program `faketime`, which knows where its library is on each architecture.
pub(crate) fn faketime() -> Result<PathBuf, ScratchError> {
    on_path()
        .map(|folder| folder.join("faketime"))
        .find(|program| program.exists())
        .ok_or_else(|| {
            ScratchError("faketime is nowhere: install the Debian package faketime".to_owned())
        })
}

fn on_path() -> impl Iterator<Item = PathBuf> {
    env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .collect::<Vec<_>>()
        .into_iter()
}

/// Version in the name of a Debian directory: 15, 9.6.
fn version(bin: &Path) -> u32 {
    let name = bin
        .parent()
        .and_then(Path::file_name)
        .map(|name| name.to_string_lossy().into_owned());
    name.and_then(|name| name.split('.').next().and_then(|major| major.parse().ok()))
        .unwrap_or(0)
}
