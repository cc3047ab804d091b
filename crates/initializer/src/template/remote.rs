//! Loads a template from a Git repository. Its objects are read as they are, without a checkout, so
//! no filter, attribute or line-end setting changes them.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use surefoot::AddressPolicy;

use super::limits::Gauge;
use super::{Content, Entry, LoadError, Template, TemplateError};
use crate::git::{Git, GitError, argument};

/// Time limit for a repository. A few hundred bytes of trees can stand for billions of files.
const TIME_LIMIT: Duration = Duration::from_secs(240);
/// Time limit for listing the files of a commit: directories without files can be as many.
const LIST_TIME_LIMIT: Duration = Duration::from_secs(30);
/// Size limit of a fetched repository, in bytes as Git packs them.
const FETCH_LIMIT: u64 = 256 * 1024 * 1024;
/// Interval of the check of a fetch's size.
const FETCH_LOOK: Duration = Duration::from_millis(200);
/// Length limit of a line of `ls-tree`: a mode, an id, a size and a path.
const LONGEST_LINE: usize = 8 * 1024;

pub(super) async fn load(
    url: &str,
    reference: Option<&str>,
    scratch: &Path,
    addresses: &AddressPolicy,
) -> Result<Template, LoadError> {
    argument("template", url)?;
    let git = Git::new(scratch).reaching(url, addresses).await?;
    let loading = load_whole(&git, url, reference, scratch);
    tokio::time::timeout(TIME_LIMIT, loading).await.map_err(|_| {
        let seconds = TIME_LIMIT.as_secs();
        TemplateError(format!("reading the repository {url} took more than {seconds} s: use a smaller or nearer one"))
    })?
}

async fn load_whole(
    git: &Git,
    url: &str,
    reference: Option<&str>,
    scratch: &Path,
) -> Result<Template, LoadError> {
    let (git, commit) = match fetch_as(git, "sha1", url, reference, scratch).await {
        Err(LoadError::Git(error)) if error.message().contains("mismatched algorithms") => {
            fetch_as(git, "sha256", url, reference, scratch).await?
        }
        fetched => fetched?,
    };
    let blobs = list(&git, &commit).await?;
    let entries = read(&git, blobs).await?;
    let name = reference.map_or_else(|| url.to_owned(), |reference| format!("{url}@{reference}"));
    Ok(Template::new(name, Some(format!("git:{commit}")), entries)?)
}

/// Fetches into a new repository of that object format, and returns it with the commit's id.
async fn fetch_as(
    git: &Git,
    format: &str,
    url: &str,
    reference: Option<&str>,
    scratch: &Path,
) -> Result<(Git, String), LoadError> {
    let format = format!("--object-format={format}");
    // A single pack, whose size shows the progress of a fetch.
    let git = git.clone().setting("fetch.unpackLimit=1");
    git.run(&["init", "--quiet", "--bare", &format, "repository"])
        .await?;
    let folder = scratch.join("repository");
    let git = git.in_folder(&folder);
    let commit = fetch(&git, &folder, url, reference).await;
    if commit.is_err() {
        tokio::fs::remove_dir_all(&folder)
            .await
            .map_err(|error| GitError::Start { dir: folder, error })?;
    }
    Ok((git, commit?))
}

/// Fetches the commit alone; everything, if the server serves no commit by its id.
async fn fetch(
    git: &Git,
    folder: &Path,
    url: &str,
    reference: Option<&str>,
) -> Result<String, LoadError> {
    let wanted = argument("ref", reference.unwrap_or("HEAD"))?;
    let peeled = |name: &str| format!("{name}^{{commit}}");
    match within_limit(
        git,
        folder,
        &["fetch", "--quiet", "--depth=1", "--no-tags", url, wanted],
    )
    .await
    {
        Ok(()) => Ok(resolve(git, &peeled("FETCH_HEAD")).await?),
        Err(LoadError::Git(error))
            if is_commit(wanted) && !error.message().contains("mismatched algorithms") =>
        {
            let everything = [
                "fetch",
                "--quiet",
                url,
                "+refs/heads/*:refs/heads/*",
                "+refs/tags/*:refs/tags/*",
            ];
            within_limit(git, folder, &everything).await?;
            Ok(resolve(git, &peeled(wanted)).await?)
        }
        Err(error) => Err(error),
    }
}

/// Runs a fetch, and stops it if it brings too much.
async fn within_limit(git: &Git, folder: &Path, fetch: &[&str]) -> Result<(), LoadError> {
    let mut fetching = std::pin::pin!(git.run(fetch));
    loop {
        let done = tokio::time::timeout(FETCH_LOOK, &mut fetching).await;
        if packed(folder).await > FETCH_LIMIT {
            let most = FETCH_LIMIT / 1024 / 1024;
            return Err(TemplateError(format!(
                "the template's repository is larger than {most} MiB"
            ))
            .into());
        }
        if let Ok(done) = done {
            return Ok(done.map(drop)?);
        }
    }
}

/// Size of all packs, including unfinished ones.
async fn packed(folder: &Path) -> u64 {
    let mut total = 0;
    let Ok(mut packs) = tokio::fs::read_dir(folder.join("objects/pack")).await else {
        return 0;
    };
    while let Ok(Some(pack)) = packs.next_entry().await {
        total += pack.metadata().await.map_or(0, |metadata| metadata.len());
    }
    total
}

async fn resolve(git: &Git, name: &str) -> Result<String, GitError> {
    Ok(git
        .run(&["rev-parse", "--verify", "--quiet", "--end-of-options", name])
        .await?
        .trim()
        .to_owned())
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

/// Lists the files, and stops at the first one beyond a limit: a commit can name more files than
/// there is time for.
async fn list(git: &Git, commit: &str) -> Result<Vec<Blob>, LoadError> {
    let mut listing = Listing::default();
    let mut refused = None;
    let arguments = ["ls-tree", "-r", "-z", "-l", "--full-tree", commit];
    let listed = git.stream(&arguments, None, |piece| match listing.take(piece) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            refused = Some(error);
            ControlFlow::Break(())
        }
    });
    let _: ControlFlow<()> = tokio::time::timeout(LIST_TIME_LIMIT, listed).await.map_err(|_| {
        let seconds = LIST_TIME_LIMIT.as_secs();
        TemplateError(format!(
            "listing the files of commit {commit} took more than {seconds} s: it has too many folders"
        ))
    })??;
    match refused {
        Some(error) => Err(error.into()),
        None => Ok(listing.blobs),
    }
}

/// Entries that `ls-tree` has listed so far.
#[derive(Default)]
struct Listing {
    blobs: Vec<Blob>,
    gauge: Gauge,
    /// Beginning of a line that is not complete yet.
    rest: Vec<u8>,
}

impl Listing {
    fn take(&mut self, piece: &[u8]) -> Result<(), TemplateError> {
        for part in piece.split_inclusive(|byte| *byte == 0) {
            self.rest.extend_from_slice(part);
            if self.rest.len() > LONGEST_LINE {
                return Err(TemplateError::at(
                    &String::from_utf8_lossy(&self.rest[..100]),
                    "its path is too long",
                ));
            }
            if self.rest.pop_if(|last| *last == 0).is_some() {
                self.blobs.push(blob(&self.rest, &mut self.gauge)?);
                self.rest.clear();
            }
        }
        Ok(())
    }
}

/// Parses `100644 blob 3b18e512... 12<TAB>path`.
fn blob(line: &[u8], gauge: &mut Gauge) -> Result<Blob, TemplateError> {
    let text = std::str::from_utf8(line)
        .map_err(|_| TemplateError::at(&String::from_utf8_lossy(line), "its name is not UTF-8"))?;
    let (facts, path) = text.split_once('\t').unwrap_or((text, ""));
    let [mode, kind, id, size] = facts.split_whitespace().collect::<Vec<_>>()[..] else {
        return Err(TemplateError::at(path, "git lists it in an unknown format"));
    };
    if kind != "blob" {
        return Err(TemplateError::at(
            path,
            "is a submodule; put its files into the template instead",
        ));
    }
    gauge.add(path, size.parse().unwrap_or(u64::MAX))?;
    Ok(Blob {
        path: path.to_owned(),
        mode: mode.to_owned(),
        id: id.to_owned(),
    })
}

/// Reads all contents with one git.
async fn read(git: &Git, blobs: Vec<Blob>) -> Result<Vec<Entry>, LoadError> {
    let ids = blobs
        .iter()
        .map(|blob| format!("{}\n", blob.id))
        .collect::<String>();
    let output = git
        .run_bytes_with_input(&["cat-file", "--batch"], ids.as_bytes())
        .await?;
    let mut rest = output.as_slice();
    let mut entries = Vec::with_capacity(blobs.len());
    for blob in blobs {
        let (bytes, after) = content(rest)
            .ok_or_else(|| TemplateError::at(&blob.path, "git did not return its content"))?;
        entries.push(blob.entry(bytes)?);
        rest = after;
    }
    Ok(entries)
}

/// Splits `<id> blob <size>\n<bytes>\n` from the rest of the output.
fn content(output: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = output.iter().position(|byte| *byte == b'\n')?;
    let size: usize = std::str::from_utf8(&output[..end])
        .ok()?
        .split(' ')
        .nth(2)?
        .parse()
        .ok()?;
    let bytes = output.get(end + 1..end + 1 + size)?;
    Some((bytes, output.get(end + 2 + size..)?))
}

impl Blob {
    fn entry(self, bytes: &[u8]) -> Result<Entry, TemplateError> {
        let content = match self.mode.as_str() {
            "120000" => {
                let target = std::str::from_utf8(bytes);
                let target =
                    target.map_err(|_| TemplateError::at(&self.path, "its target is not UTF-8"))?;
                Content::Symlink {
                    target: target.to_owned(),
                }
            }
            mode => Content::File {
                bytes: bytes.to_vec(),
                executable: mode == "100755",
            },
        };
        Ok(Entry {
            path: self.path,
            content,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use surefoot::Timestamp;

    use super::*;
    use crate::template::{Source, load_folder};

    /// A repository with a tag `v1` and a later commit on main; returns the commits of both.
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
        git.run(&["rev-parse", "HEAD"])
            .await
            .unwrap()
            .trim()
            .to_owned()
    }

    async fn loaded(url: &str, reference: Option<&str>) -> Result<Template, LoadError> {
        let scratch = tempfile::tempdir().unwrap();
        let source = Source::Git {
            url: url.to_owned(),
            reference: reference.map(str::to_owned),
        };
        crate::template::load(source, scratch.path(), &AddressPolicy::default()).await
    }

    #[tokio::test]
    async fn any_branch_tag_or_commit_is_read_as_it_was_committed() {
        let folder = tempfile::tempdir().unwrap();
        let (first, last) = origin(folder.path()).await;
        let url = folder.path().to_str().unwrap();
        let expect = load_folder(folder.path()).unwrap().entries;
        for reference in [None, Some("main"), Some(last.as_str()), Some("HEAD")] {
            let template = loaded(url, reference).await.unwrap();
            assert_eq!(
                (template.version, &template.entries),
                (format!("git:{last}"), &expect),
                "{reference:?}"
            );
        }
        for reference in ["v1", first.as_str(), &first[..10]] {
            assert_eq!(
                loaded(url, Some(reference)).await.unwrap().version,
                format!("git:{first}"),
                "{reference}"
            );
        }
        let by_url = loaded(&format!("file://{url}"), Some("v1")).await.unwrap();
        assert_eq!(by_url.version, format!("git:{first}"));
    }

    #[tokio::test]
    async fn a_ref_or_repository_that_is_not_there_is_gits_error() {
        let folder = tempfile::tempdir().unwrap();
        origin(folder.path()).await;
        let url = folder.path().to_str().unwrap();
        for (url, reference) in [
            (url, "gone"),
            (url, "--upload-pack=x"),
            ("file:///no/such", "main"),
            (url, "0123456789"),
        ] {
            assert!(
                matches!(loaded(url, Some(reference)).await, Err(LoadError::Git(_))),
                "{url} {reference}"
            );
        }
    }

    #[tokio::test]
    async fn a_repository_of_the_sha256_object_format_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let git =
            Git::new(folder.path()).identity("Ada", "ada@example.org", Timestamp::from_micros(0));
        git.run(&["init", "--quiet", "--object-format=sha256"])
            .await
            .unwrap();
        fs::write(folder.path().join("a.txt"), "a\n").unwrap();
        git.run(&["add", "--all"]).await.unwrap();
        git.run(&["commit", "--quiet", "-m", "first"])
            .await
            .unwrap();
        let commit = git
            .run(&["rev-parse", "HEAD"])
            .await
            .unwrap()
            .trim()
            .to_owned();
        assert_eq!(commit.len(), 64);
        for reference in [None, Some("main"), Some(commit.as_str())] {
            let template = loaded(folder.path().to_str().unwrap(), reference)
                .await
                .unwrap();
            assert_eq!(template.version, format!("git:{commit}"), "{reference:?}");
            assert_eq!(template.entries.len(), 1);
        }
    }

    /// A repository whose commit has `width` to the power of `depth` files, in as many objects as
    /// there are levels.
    async fn bomb(folder: &Path, width: usize, depth: usize) {
        let git = Git::new(folder).identity("Ada", "ada@example.org", Timestamp::from_micros(0));
        git.run(&["init", "--quiet"]).await.unwrap();
        let mut id = git
            .run_with_input(&["hash-object", "-w", "--stdin"], b"x")
            .await
            .unwrap()
            .trim()
            .to_owned();
        let mut kind = "100644 blob";
        for _ in 0..depth {
            let tree = (0..width)
                .map(|name| format!("{kind} {id}\t{name}\n"))
                .collect::<String>();
            id = git
                .run_with_input(&["mktree"], tree.as_bytes())
                .await
                .unwrap()
                .trim()
                .to_owned();
            kind = "040000 tree";
        }
        let commit = git.run(&["commit-tree", "-m", "bomb", &id]).await.unwrap();
        git.run(&["update-ref", "refs/heads/main", commit.trim()])
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn a_commit_of_ten_billion_files_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        bomb(folder.path(), 10, 10).await;
        let error = loaded(folder.path().to_str().unwrap(), None)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("more than 10000 files"), "{error}");
    }

    #[test]
    fn a_listing_is_read_in_pieces_of_any_size() {
        let text = b"100644 blob 12 3\ta\x00100755 blob 34 5\tb/c d\0";
        for size in 1..text.len() {
            let mut listing = Listing::default();
            for piece in text.chunks(size) {
                listing.take(piece).unwrap();
            }
            let found = listing
                .blobs
                .iter()
                .map(|blob| (blob.path.as_str(), blob.id.as_str()))
                .collect::<Vec<_>>();
            assert_eq!(found, [("a", "12"), ("b/c d", "34")]);
        }
        assert!(Listing::default().take(&[b'x'; LONGEST_LINE + 1]).is_err());
    }

    #[tokio::test]
    async fn a_denied_address_is_never_a_template() {
        for url in ["http://169.254.169.254/t.git", "ssh://git@[fe80::1]/t.git"] {
            let error = loaded(url, None).await.unwrap_err();
            assert!(
                matches!(&error, LoadError::Git(GitError::Address(_))),
                "{url}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_submodule_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (first, _) = origin(folder.path()).await;
        let git =
            Git::new(folder.path()).identity("Ada", "ada@example.org", Timestamp::from_micros(0));
        git.run(&[
            "update-index",
            "--add",
            "--cacheinfo",
            &format!("160000,{first},lib"),
        ])
        .await
        .unwrap();
        git.run(&["commit", "--quiet", "-m", "sub"]).await.unwrap();
        let error = loaded(folder.path().to_str().unwrap(), None)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("lib") && error.contains("submodule"),
            "{error}"
        );
    }
}
