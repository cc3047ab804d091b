//! Ownership: repositories that are created, adopted, refused and removed.

use surefoot::Timestamp;

use super::*;

fn mark(run: &str) -> Mark {
    Mark {
        project: "shop".to_owned(),
        run: run.to_owned(),
    }
}

fn new(run: &str) -> NewRepository<'_> {
    NewRepository {
        name: "shop",
        mark: mark(run),
        by: run,
        description: "A\nshop",
        visibility: Visibility::Private,
    }
}

fn forge() -> (tempfile::TempDir, LocalForge) {
    let folder = tempfile::tempdir().unwrap();
    let forge = LocalForge::new(folder.path().join("repositories"));
    (folder, forge)
}

/// Every file of a directory with its content, to check that nothing was changed.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for child in fs::read_dir(folder).unwrap() {
        let path = child.unwrap().path();
        if path.is_dir() {
            found.push((path.clone(), Vec::new()));
            found.extend(everything(&path));
        } else {
            found.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

async fn commit(forge: &LocalForge, branch: &str, by: &str) -> String {
    let git =
        Git::new(forge.path("shop")).identity(by, "ada@example.org", Timestamp::from_micros(0));
    let tree = git.run_with_input(&["mktree"], b"").await.unwrap();
    let id = git
        .run(&["commit-tree", "-m", "work", tree.trim()])
        .await
        .unwrap()
        .trim()
        .to_owned();
    git.run(&["update-ref", &format!("refs/heads/{branch}"), &id])
        .await
        .unwrap();
    id
}

#[tokio::test]
async fn a_repository_is_created_once_and_adopted_by_its_own_run() {
    let (_folder, forge) = forge();
    assert_eq!(forge.create(&new("r1")).await.unwrap(), Created::Now);
    let before = everything(&forge.folder);
    assert_eq!(forge.create(&new("r1")).await.unwrap(), Created::Before);
    assert_eq!(everything(&forge.folder), before);
    let path = forge.path("shop");
    assert_eq!(
        fs::read_to_string(path.join("HEAD")).unwrap(),
        "ref: refs/heads/main\n"
    );
    assert_eq!(
        fs::read_to_string(path.join("description")).unwrap(),
        "A shop\n"
    );
    assert!(!path.join("hooks").exists(), "no sample hooks");
    assert_eq!(fs::read_dir(&forge.folder).unwrap().count(), 1);
}

#[cfg(unix)]
#[tokio::test]
async fn visibility_is_the_folders_mode() {
    use std::os::unix::fs::PermissionsExt;
    for (visibility, mode, exported) in [
        (Visibility::Private, 0o700, false),
        (Visibility::Internal, 0o750, false),
        (Visibility::Public, 0o755, true),
    ] {
        let (_folder, forge) = forge();
        forge
            .create(&NewRepository {
                visibility,
                ..new("r1")
            })
            .await
            .unwrap();
        let path = forge.path("shop");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            mode
        );
        assert_eq!(path.join("git-daemon-export-ok").exists(), exported);
    }
}

#[tokio::test]
async fn foreign_repositories_are_refused_and_left_as_they_are() {
    let check = async |forge: &LocalForge, expect: &str| {
        let before = everything(&forge.folder);
        let error = forge.create(&new("r2")).await.unwrap_err();
        assert!(
            error.is_fatal() && error.to_string().contains(expect),
            "{error}"
        );
        assert!(
            forge
                .remove("shop", &mark("r2"))
                .await
                .unwrap_err()
                .is_fatal()
        );
        assert_eq!(everything(&forge.folder), before);
    };
    let (_one, forge_one) = forge();
    forge_one.create(&new("r1")).await.unwrap();
    check(
        &forge_one,
        "`surefoot cancel r1 --undo --wait` takes back what that run made, then `surefoot retry r2 --wait`",
    )
    .await;

    let (_two, unmarked) = forge();
    fs::create_dir_all(unmarked.path("shop")).unwrap();
    check(&unmarked, "not a Git repository").await;
    Git::new(unmarked.path("shop"))
        .run(&["init", "--quiet", "--bare"])
        .await
        .unwrap();
    check(&unmarked, "it is empty").await;
    commit(&unmarked, "main", "Ada").await;
    check(&unmarked, "by Ada <ada@example.org> of 1970-01-01").await;

    let (_three, file) = forge();
    fs::create_dir_all(&file.folder).unwrap();
    fs::write(file.path("shop"), "mine").unwrap();
    check(&file, "not a Git repository").await;
}

#[tokio::test]
async fn leftovers_of_a_killed_attempt_are_cleaned_up() {
    let (_folder, forge) = forge();
    let left = forge.folder.join(".shop.r1.xyz.new");
    fs::create_dir_all(left.join("objects/half")).unwrap();
    assert_eq!(forge.create(&new("r1")).await.unwrap(), Created::Now);
    assert!(!left.exists());
    // Killed before the decision, then after: the first comes back and is checked again, the second
    // is removed.
    let undecided = forge.folder.join(".shop.r1.old");
    let decided = forge.folder.join(".shop.r1.gone");
    commit(&forge, "main", "Ada").await;
    fs::rename(forge.path("shop"), &undecided).unwrap();
    fs::create_dir_all(decided.join("objects/half")).unwrap();
    assert!(
        forge
            .remove("shop", &mark("r1"))
            .await
            .unwrap_err()
            .to_string()
            .contains("people's commits")
    );
    assert!(forge.path("shop").join("HEAD").exists() && !undecided.exists() && !decided.exists());
    assert_eq!(fs::read_dir(&forge.folder).unwrap().count(), 1);
}

#[tokio::test]
async fn of_many_concurrent_attempts_one_creates() {
    let (_folder, forge) = forge();
    fs::create_dir_all(&forge.folder).unwrap();
    let runs = ["r1", "r2", "r3", "r4"];
    let new = runs.map(new);
    let (a, b, c, d) = tokio::join!(
        forge.create(&new[0]),
        forge.create(&new[1]),
        forge.create(&new[2]),
        forge.create(&new[3])
    );
    let all = [a, b, c, d];
    assert_eq!(
        all.iter()
            .filter(|made| matches!(made, Ok(Created::Now)))
            .count(),
        1
    );
    assert_eq!(
        all.iter()
            .filter(|made| matches!(made, Err(ForgeError::Taken(_))))
            .count(),
        3
    );
    assert_eq!(
        fs::read_dir(&forge.folder).unwrap().count(),
        1,
        "the others left nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn attempts_with_the_same_mark_at_once_make_one_whole_repository() {
    for same_run in [true, false] {
        let (_folder, forge) = forge();
        let mut all = tokio::task::JoinSet::new();
        for number in 0..8 {
            let forge = forge.clone();
            all.spawn(async move {
                let by = if same_run {
                    "r1".to_owned()
                } else {
                    format!("r{number}")
                };
                forge
                    .create(&NewRepository {
                        by: &by,
                        ..new("r1")
                    })
                    .await
            });
        }
        // An attempt of a run may find its directory removed by its successor: a transient error
        // without harm.
        let all = all.join_all().await;
        let made = all
            .iter()
            .filter(|made| matches!(made, Ok(Created::Now)))
            .count();
        let failed = all.iter().filter(|made| made.is_err()).count();
        assert!(made == 1 && (same_run || failed == 0), "{all:?}");
        assert!(
            all.iter()
                .flat_map(|made| made.as_ref().err())
                .all(|error| !error.is_fatal()),
            "{all:?}"
        );
        assert!(forge.is_ours("shop", &mark("r1")).await.unwrap());
        Git::new(forge.path("shop")).run(&["fsck"]).await.unwrap();
        assert_eq!(
            fs::read_dir(&forge.folder).unwrap().count(),
            1,
            "nothing is left beside it"
        );
    }
}

#[tokio::test]
async fn only_repositories_without_other_commits_are_removed() {
    let (_folder, forge) = forge();
    let mark = mark("r1");
    assert!(!forge.remove("shop", &mark).await.unwrap(), "there is none");
    forge
        .remove_branch("shop", &mark, "main", "0123")
        .await
        .unwrap();
    forge.create(&new("r1")).await.unwrap();
    let ours = commit(&forge, "main", "Surefoot").await;
    let theirs = commit(&forge, "main", "Ada").await;
    let refused = |result: Result<(), ForgeError>, reference: &str| {
        let error = result.unwrap_err().to_string();
        assert!(
            error.contains("people's commits") && error.contains(reference),
            "{error}"
        );
        assert!(forge.path("shop").join("HEAD").exists());
    };
    refused(
        forge.remove_branch("shop", &mark, "main", &ours).await,
        "refs/heads/main",
    );
    refused(
        forge.remove("shop", &mark).await.map(drop),
        "refs/heads/main",
    );
    forge
        .remove_branch("shop", &mark, "main", &theirs)
        .await
        .unwrap();
    forge
        .remove_branch("shop", &mark, "main", &theirs)
        .await
        .unwrap();
    commit(&forge, "feature", "Ada").await;
    refused(
        forge.remove("shop", &mark).await.map(drop),
        "refs/heads/feature",
    );
    Git::new(forge.path("shop"))
        .run(&["update-ref", "-d", "refs/heads/feature"])
        .await
        .unwrap();
    assert!(forge.remove("shop", &mark).await.unwrap());
    assert_eq!(fs::read_dir(&forge.folder).unwrap().count(), 0);
}
