//! Distinguishes files that are as a run wrote them from those that people have changed since.

use super::Change;
use crate::git::Git;
use crate::template::Content;

/// Splits a run's files in the fleet's head into unchanged and changed ones.
pub(super) async fn split(
    git: &Git,
    head: &str,
    written: Option<&str>,
    change: &Change<'_>,
    files: Vec<String>,
) -> (Vec<String>, Vec<String>) {
    let mut same = Vec::new();
    let mut edited = Vec::new();
    for path in files {
        let found = blob(git, head, &path).await;
        let expected = match written {
            Some(commit) => blob(git, commit, &path).await,
            None => wanted(change, &path),
        };
        let list = if found.is_some() && found == expected {
            &mut same
        } else {
            &mut edited
        };
        list.push(path);
    }
    (same, edited)
}

async fn blob(git: &Git, commit: &str, path: &str) -> Option<Vec<u8>> {
    git.run_bytes(&["cat-file", "blob", &format!("{commit}:{path}")])
        .await
        .ok()
}

fn wanted(change: &Change<'_>, path: &str) -> Option<Vec<u8>> {
    let file = change.files.iter().find(|file| file.path == path)?;
    match &file.content {
        Content::File { bytes, .. } => Some(bytes.clone()),
        Content::Symlink { .. } => None,
    }
}
