//! Data directory of a new cluster: made by `initdb`, or copied from one made earlier.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{ScratchError, while_doing};
use crate::ground::Ground;

/// Environment variable with a folder that keeps one initialised data directory for each
/// PostgreSQL.
///
/// `initdb` takes seconds and a copy takes milliseconds, which counts when each test is a process
/// with a cluster of its own. The folder must be writable by the user that runs the server. Without
/// the variable every cluster runs `initdb`.
const TEMPLATES: &str = "SUREFOOT_SCRATCH_TEMPLATES";

/// Makes the data directory `data` with the programs in the folder `programs`.
pub(crate) fn create(ground: &Ground, programs: &Path, data: &Path) -> Result<(), ScratchError> {
    let Some(templates) = std::env::var_os(TEMPLATES).map(PathBuf::from) else {
        return initdb(ground, programs, data);
    };
    let template = templates.join(programs.display().to_string().replace(['/', '.'], "_"));
    if !template.exists() {
        initialise_template(ground, programs, &template)?;
    }
    copy(ground, &template, data)
}

fn initdb(ground: &Ground, programs: &Path, data: &Path) -> Result<(), ScratchError> {
    let mut initdb = ground.command(&programs.join("initdb"));
    initdb.args([
        "--no-sync",
        "--auth=trust",
        "--username=postgres",
        "--encoding=UTF8",
        "--locale=C",
    ]);
    ground.run(initdb.arg("--pgdata").arg(data)).map(drop)
}

/// Initialises a data directory under a name of its own and renames it, so that no process ever
/// copies half of one.
fn initialise_template(
    ground: &Ground,
    programs: &Path,
    template: &Path,
) -> Result<(), ScratchError> {
    let unfinished = template.with_extension(std::process::id().to_string());
    initdb(ground, programs, &unfinished)?;
    match std::fs::rename(&unfinished, template) {
        // Another process was faster; its template is as good.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            std::fs::remove_dir_all(&unfinished).map_err(while_doing(unfinished.display()))
        }
        renamed => renamed.map_err(while_doing(template.display())),
    }
}

fn copy(ground: &Ground, template: &Path, data: &Path) -> Result<(), ScratchError> {
    let mut copy = ground.command(Path::new("cp"));
    ground.run(copy.arg("-R").arg(template).arg(data)).map(drop)
}
