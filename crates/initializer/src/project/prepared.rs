//! The first commit on its way from the step that prepares it to the one that pushes it: a file of
//! the run's workspace, which survives a crash and moves with the run to another worker. So exactly
//! the checked content is pushed.

use std::path::{Path, PathBuf};

use surefoot::files::{self, Links};
use surefoot::{Digest, StepContext, StepError};

/// The file, in the run's workspace.
const FILE: &str = ".surefoot/first-commit";
/// Size limit: the largest template, and what is written between its files.
const LONGEST: u64 = 96 * 1024 * 1024;

/// Writes the first commit into the run's workspace, and returns its digest.
pub(super) async fn write(context: &StepContext, stream: Vec<u8>) -> Result<String, StepError> {
    let digest = Digest::of(&stream).to_string();
    let path = path(&context.workspace().await?);
    let writing = files::blocking(move || put(&path, &stream));
    writing.await?.map_err(|error| {
        StepError::from(format!(
            "cannot write {FILE} into the run's workspace: {error}"
        ))
    })?;
    Ok(digest)
}

/// Reads the first commit with that digest.
pub(super) async fn read(context: &StepContext, digest: &str) -> Result<Vec<u8>, StepError> {
    let path = path(&context.workspace().await?);
    let reading = files::blocking(move || files::read(&path, Links::Refuse, LONGEST));
    let stream = reading
        .await?
        .map_err(|error| format!("cannot read {FILE} in the run's workspace: {error}"))?;
    if Digest::of(&stream).to_string() != digest {
        return Err(StepError::fatal(format!(
            "{FILE} in the run's workspace is not what was prepared: `surefoot retry {} --from resolve_credentials` prepares it \
             again",
            context.run_id()
        )));
    }
    Ok(stream)
}

fn path(workspace: &Path) -> PathBuf {
    workspace.join(FILE)
}

#[expect(
    clippy::disallowed_methods,
    reason = "it runs off the runtime's threads"
)]
fn put(path: &Path, stream: &[u8]) -> Result<(), files::FileError> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    files::write(path, stream, 0o600)
}
