//! Objects that other files of the fleet repository already describe: no project may describe one
//! of them again.

use serde_json::Value;

use super::manifests::folder;
use crate::git::{Git, GitError};
use crate::template::{Content, Entry};

/// Identity of an object in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Identity {
    /// The API group without its version: another version is the same object.
    group: String,
    kind: String,
    namespace: String,
    name: String,
}

/// An object of the change that another file has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Conflict {
    /// The other file.
    pub(super) path: String,
    /// The object: `Namespace shop--staging`.
    pub(super) object: String,
}

/// Looks for an object of `files` that a file outside the project's directory has too.
///
/// # Errors
/// If git cannot read the fleet.
pub(super) async fn conflict(
    git: &Git,
    head: &str,
    project: &str,
    files: &[Entry],
) -> Result<Option<Conflict>, GitError> {
    let wanted = files.iter().flat_map(objects).collect::<Vec<_>>();
    for path in mentions(git, head, project, &wanted).await? {
        let text = git
            .run(&["cat-file", "blob", &format!("{head}:{path}")])
            .await?;
        if let Some(found) = identities(&text)
            .into_iter()
            .find(|found| wanted.contains(found))
        {
            return Ok(Some(Conflict {
                path,
                object: format!("{} {}", found.kind, found.name),
            }));
        }
    }
    Ok(None)
}

/// Files outside the project's directory that mention a namespace of the wanted objects; each
/// object is a namespace or is in one.
async fn mentions(
    git: &Git,
    head: &str,
    project: &str,
    wanted: &[Identity],
) -> Result<Vec<String>, GitError> {
    let mut arguments = vec!["grep", "-I", "-l", "-z", "--fixed-strings"];
    for object in wanted.iter().filter(|object| object.kind == "Namespace") {
        arguments.extend(["-e", &object.name]);
    }
    let elsewhere = format!(":(exclude,top){}", folder(project));
    arguments.extend([head, "--", ":(top)", &elsewhere]);
    let found = match git.run(&arguments).await {
        Err(error) if error.code() == Some(1) => return Ok(Vec::new()),
        found => found?,
    };
    let path = |line: &str| line.split_once(':').map(|(_, path)| path.to_owned());
    Ok(found.split('\0').filter_map(path).collect())
}

fn objects(file: &Entry) -> Vec<Identity> {
    match &file.content {
        Content::File { bytes, .. } => identities(&String::from_utf8_lossy(bytes)),
        Content::Symlink { .. } => Vec::new(),
    }
}

/// Objects of a file; none if it is not YAML.
fn identities(text: &str) -> Vec<Identity> {
    let documents = serde_saphyr::from_multiple::<Value>(text).unwrap_or_default();
    documents.iter().filter_map(identity).collect()
}

fn identity(document: &Value) -> Option<Identity> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let metadata = &document["metadata"];
    let version = document["apiVersion"].as_str()?;
    Some(Identity {
        group: version
            .split_once('/')
            .map(|(group, _)| group.to_owned())
            .unwrap_or_default(),
        kind: text(&document["kind"])?,
        namespace: text(&metadata["namespace"]).unwrap_or_default(),
        name: text(&metadata["name"])?,
    })
}
