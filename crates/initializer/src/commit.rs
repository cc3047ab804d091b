//! Creates a commit whose id is a function of its content, parent and date alone, with one
//! `git fast-import`.

use surefoot::Timestamp;

use crate::git::{Git, GitError};
use crate::template::{Content, Entry};

/// Identity of Surefoot's commits.
const IDENTITY: &str = "Surefoot <surefoot@localhost>";

/// A commit to create.
#[derive(Debug)]
pub(crate) struct Commit<'a> {
    /// The whole message.
    pub(crate) message: &'a str,
    /// Date of author and committer, in whole seconds.
    pub(crate) at: Timestamp,
    /// The parent commit.
    pub(crate) parent: Option<&'a str>,
    /// Files to remove from the parent's.
    pub(crate) removed: &'a [String],
    /// Files to add or replace.
    pub(crate) files: &'a [Entry],
}

impl Commit<'_> {
    /// Creates the commit in a repository, on a separate branch, and returns its id.
    pub(crate) async fn make(&self, git: &Git) -> Result<String, GitError> {
        import(git, &self.stream()).await
    }

    /// Commands for `git fast-import`; the last one prints the commit's id.
    pub(crate) fn stream(&self) -> Vec<u8> {
        let seconds = self.at.as_micros().div_euclid(1_000_000);
        let mut stream = format!(
            "commit refs/surefoot/new\nmark :1\nauthor {IDENTITY} {seconds} +0000\ncommitter {IDENTITY} {seconds} +0000\n"
        )
        .into_bytes();
        data(&mut stream, self.message.as_bytes());
        if let Some(parent) = self.parent {
            stream.extend(format!("from {parent}\n").bytes());
        }
        for path in self.removed {
            stream.extend(format!("D {}\n", quoted(path)).bytes());
        }
        for entry in self.files {
            put(&mut stream, entry);
        }
        stream.extend(b"\nget-mark :1\n");
        stream
    }
}

/// Creates the commit of a stream from [`Commit::stream`], and returns its id.
pub(crate) async fn import(git: &Git, stream: &[u8]) -> Result<String, GitError> {
    let arguments = ["fast-import", "--quiet", "--force", "--date-format=raw"];
    Ok(git
        .run_with_input(&arguments, stream)
        .await?
        .trim()
        .to_owned())
}

fn put(stream: &mut Vec<u8>, entry: &Entry) {
    let (mode, bytes) = match &entry.content {
        Content::File {
            bytes,
            executable: false,
        } => ("100644", bytes.as_slice()),
        Content::File {
            bytes,
            executable: true,
        } => ("100755", bytes.as_slice()),
        Content::Symlink { target } => ("120000", target.as_bytes()),
    };
    stream.extend(format!("M {mode} inline {}\n", quoted(&entry.path)).bytes());
    data(stream, bytes);
}

fn data(stream: &mut Vec<u8>, bytes: &[u8]) {
    stream.extend(format!("data {}\n", bytes.len()).bytes());
    stream.extend(bytes);
    stream.push(b'\n');
}

/// A path quoted for fast-import, whatever its first character is.
fn quoted(path: &str) -> String {
    format!(
        "\"{}\"",
        path.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::template::testing::{file, symlink};

    async fn bare() -> (tempfile::TempDir, Git) {
        let folder = tempfile::tempdir().unwrap();
        let git = Git::new(folder.path());
        git.run(&["init", "--quiet", "--bare"]).await.unwrap();
        (folder, git)
    }

    fn commit<'a>(
        files: &'a [Entry],
        removed: &'a [String],
        parent: Option<&'a str>,
    ) -> Commit<'a> {
        Commit {
            message: "first\n\nSurefoot-Run: r\n",
            at: Timestamp::from_micros(1_790_000_000_999_999),
            parent,
            removed,
            files,
        }
    }

    #[tokio::test]
    async fn the_id_depends_on_nothing_but_the_content() {
        let tool = Content::File {
            bytes: b"#!/bin/sh\n".to_vec(),
            executable: true,
        };
        let binary = Content::File {
            bytes: b"\0data 3\n\xff".to_vec(),
            executable: false,
        };
        let files = [
            file("a b/\"ü\\.txt", "text\n"),
            Entry {
                path: "bin/run".to_owned(),
                content: tool,
            },
            Entry {
                path: "logo.png".to_owned(),
                content: binary,
            },
            symlink("run", "bin/run"),
            file("empty", ""),
        ];
        let (_one, first) = bare().await;
        let (_two, second) = bare().await;
        let id = commit(&files, &[], None).make(&first).await.unwrap();
        assert_eq!(id, commit(&files, &[], None).make(&second).await.unwrap());
        assert_eq!(
            id,
            commit(&files, &[], None).make(&first).await.unwrap(),
            "made again in the same place"
        );
        let modes = first
            .run(&["ls-tree", "-r", "--format=%(objectmode)", &id])
            .await
            .unwrap();
        assert_eq!(
            modes.split_whitespace().collect::<Vec<_>>(),
            ["100644", "100755", "100644", "100644", "120000"]
        );
        let names = first
            .run(&["ls-tree", "-r", "-z", "--name-only", &id])
            .await
            .unwrap();
        assert_eq!(names, "a b/\"ü\\.txt\0bin/run\0empty\0logo.png\0run\0");
        assert_eq!(
            first
                .run_bytes(&["cat-file", "blob", &format!("{id}:logo.png")])
                .await
                .unwrap(),
            b"\0data 3\n\xff"
        );
        let facts = first
            .run(&[
                "show",
                "-s",
                "--format=%an %ae %at %ct %(trailers:key=Surefoot-Run)",
                &id,
            ])
            .await
            .unwrap();
        assert_eq!(
            facts.trim(),
            "Surefoot surefoot@localhost 1790000000 1790000000 Surefoot-Run: r"
        );
    }

    #[tokio::test]
    async fn a_parents_files_stay_unless_they_are_removed() {
        let (_folder, git) = bare().await;
        let parent = commit(&[file("kept", "1"), file("p/gone", "2")], &[], None)
            .make(&git)
            .await
            .unwrap();
        let removed = ["p/gone".to_owned(), "never/there".to_owned()];
        let child = commit(&[file("new", "3")], &removed, Some(&parent))
            .make(&git)
            .await
            .unwrap();
        assert_eq!(
            git.run(&["ls-tree", "-r", "--name-only", &child])
                .await
                .unwrap(),
            "kept\nnew\n"
        );
        assert_eq!(
            git.run(&["rev-parse", &format!("{child}^")])
                .await
                .unwrap()
                .trim(),
            parent
        );
    }
}
