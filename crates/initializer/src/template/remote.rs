//! Loads a template from a Git repository. Its objects are read as they are, without a checkout: no filter, attribute or
//! line-end setting of anybody changes them.

use std::path::Path;

use super::limits::Gauge;
use super::{Content, Entry, LoadError, Template, TemplateError};
use crate::git::{Git, GitError, argument};

pub(super) async fn load(url: &str, reference: Option<&str>, scratch: &Path) -> Result<Template, LoadError> {
    argument("template", url)?;
    let git = Git::new(scratch);
    git.run(&["init", "--quiet", "--bare"]).await?;
    let commit = fetch(&git, url, reference).await?;
    let blobs = list(&git, &commit).await?;
    let entries = read(&git, blobs).await?;
    let name = reference.map_or_else(|| url.to_owned(), |reference| format!("{url}@{reference}"));
    Ok(Template::new(name, Some(format!("git:{commit}")), entries)?)
}

/// Fetches the commit alone; where the server gives no commit by its id, everything.
async fn fetch(git: &Git, url: &str, reference: Option<&str>) -> Result<String, GitError> {
    let wanted = argument("ref", reference.unwrap_or("HEAD"))?;
    let peeled = |name: &str| format!("{name}^{{commit}}");
    match git.run(&["fetch", "--quiet", "--depth=1", "--no-tags", url, wanted]).await {
        Ok(_) => resolve(git, &peeled("FETCH_HEAD")).await,
        Err(_) if is_commit(wanted) => {
            git.run(&["fetch", "--quiet", url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]).await?;
            resolve(git, &peeled(wanted)).await
        }
        Err(error) => Err(error),
    }
}

async fn resolve(git: &Git, name: &str) -> Result<String, GitError> {
    Ok(git.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", name]).await?.trim().to_owned())
}

fn is_commit(text: &str) -> bool {
    text.len() >= 7 && text.chars().all(|letter| letter.is_ascii_hexdigit())
}

/// A file of the commit, not yet read.
struct Blob {
    path: String,
    mode: String,
    id: String,
}

async fn list(git: &Git, commit: &str) -> Result<Vec<Blob>, LoadError> {
    let listing = git.run_bytes(&["ls-tree", "-r", "-z", "-l", "--full-tree", commit]).await?;
    let mut gauge = Gauge::default();
    let lines = listing.split(|byte| *byte == 0).filter(|line| !line.is_empty());
    Ok(lines.map(|line| blob(line, &mut gauge)).collect::<Result<_, _>>()?)
}

/// `100644 blob 3b18e512... 12<TAB>path`
fn blob(line: &[u8], gauge: &mut Gauge) -> Result<Blob, TemplateError> {
    let text = std::str::from_utf8(line)
        .map_err(|_| TemplateError::at(&String::from_utf8_lossy(line), "its name is not UTF-8"))?;
    let (facts, path) = text.split_once('\t').unwrap_or((text, ""));
    let [mode, kind, id, size] = facts.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(TemplateError::at(path, "git lists it in a way that is not known"));
    };
    if kind != "blob" {
        return Err(TemplateError::at(path, "is a submodule; put its files into the template instead"));
    }
    gauge.add(path, size.parse().unwrap_or(u64::MAX))?;
    Ok(Blob { path: path.to_owned(), mode: mode.to_owned(), id: id.to_owned() })
}

/// Reads all contents with one git.
async fn read(git: &Git, blobs: Vec<Blob>) -> Result<Vec<Entry>, LoadError> {
    let ids = blobs.iter().map(|blob| format!("{}\n", blob.id)).collect::<String>();
    let output = git.run_bytes_with_input(&["cat-file", "--batch"], ids.as_bytes()).await?;
    let mut rest = output.as_slice();
    let mut entries = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let (bytes, after) =
            content(rest).ok_or_else(|| TemplateError::at(&blob.path, "git did not give its content"))?;
        entries.push(blob.entry(bytes)?);
        rest = after;
    }
    Ok(entries)
}

/// `<id> blob <size>\n<bytes>\n`, and what comes after it.
fn content(output: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&output[..end]).ok()?.split(' ').nth(2)?.parse().ok()?;
    let bytes = output.get(end + 1..end + 1 + size)?;
    Some((bytes, output.get(end + 2 + size..)?))
}

impl Blob {
    fn entry(self, bytes: &[u8]) -> Result<Entry, TemplateError> {
        let content = match self.mode.as_str() {
            "120000" => {
                let target = std::str::from_utf8(bytes);
                let target = target.map_err(|_| TemplateError::at(&self.path, "its target is not UTF-8"))?;
                Content::Symlink { target: target.to_owned() }
            }
            mode => Content::File { bytes: bytes.to_vec(), executable: mode == "100755" },
        };
        Ok(Entry { path: self.path, content })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use surefoot::Timestamp;

    use super::*;
    use crate::template::{Source, load_folder};

    /// A repository with a tag `v1` and a later commit on main; gives the commits of both.
    async fn origin(folder: &Path) -> (String, String) {
        let git = Git::new(folder).identity("Ada", "ada@example.org", Timestamp::from_micros(0));
        git.run(&["init", "--quiet"]).await.unwrap();
        fs::create_dir_all(folder.join("bin")).unwrap();
        fs::write(folder.join("bin/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(folder.join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(folder.join("logo.png"), b"\0\r\n\xff").unwrap();
        fs::write(folder.join(".gitattributes"), "*.txt text eol=crlf\n").unwrap();
        fs::write(folder.join("a.txt"), "one\n").unwrap();
        symlink("bin/run", folder.join("run")).unwrap();
        let first = commit(&git).await;
        git.run(&["tag", "-a", "-m", "one", "v1"]).await.unwrap();
        fs::write(folder.join("a.txt"), "two\n").unwrap();
        (first, commit(&git).await)
    }

    async fn commit(git: &Git) -> String {
        git.run(&["add", "--all"]).await.unwrap();
        git.run(&["commit", "--quiet", "-m", "more"]).await.unwrap();
        git.run(&["rev-parse", "HEAD"]).await.unwrap().trim().to_owned()
    }

    async fn loaded(url: &str, reference: Option<&str>) -> Result<Template, LoadError> {
        let scratch = tempfile::tempdir().unwrap();
        let source = Source::Git { url: url.to_owned(), reference: reference.map(str::to_owned) };
        crate::template::load(source, scratch.path()).await
    }

    #[tokio::test]
    async fn any_branch_tag_or_commit_is_read_as_it_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let (first, last) = origin(folder.path()).await;
        let url = folder.path().to_str().unwrap();
        let expect = load_folder(folder.path()).unwrap().entries;
        for reference in [None, Some("main"), Some(last.as_str()), Some("HEAD")] {
            let template = loaded(url, reference).await.unwrap();
            assert_eq!((template.version, &template.entries), (format!("git:{last}"), &expect), "{reference:?}");
        }
        for reference in ["v1", first.as_str(), &first[..10]] {
            assert_eq!(loaded(url, Some(reference)).await.unwrap().version, format!("git:{first}"), "{reference}");
        }
        let by_url = loaded(&format!("file://{url}"), Some("v1")).await.unwrap();
        assert_eq!(by_url.version, format!("git:{first}"));
    }

    #[tokio::test]
    async fn a_ref_or_repository_that_is_not_there_is_gits_error() {
        let folder = tempfile::tempdir().unwrap();
        origin(folder.path()).await;
        let url = folder.path().to_str().unwrap();
        for (url, reference) in
            [(url, "gone"), (url, "--upload-pack=x"), ("file:///no/such", "main"), (url, "0123456789")]
        {
            assert!(matches!(loaded(url, Some(reference)).await, Err(LoadError::Git(_))), "{url} {reference}");
        }
    }

    #[tokio::test]
    async fn a_submodule_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = origin(folder.path()).await;
        let git = Git::new(folder.path()).identity("Ada", "ada@example.org", Timestamp::from_micros(0));
        git.run(&["update-index", "--add", "--cacheinfo", &format!("160000,{first},lib")]).await.unwrap();
        git.run(&["commit", "--quiet", "-m", "sub"]).await.unwrap();
        let error = loaded(folder.path().to_str().unwrap(), None).await.unwrap_err().to_string();
        assert!(error.contains("lib") && error.contains("submodule"), "{error}");
    }
}
