//! Many concurrent changes, none of which is lost.

use std::path::PathBuf;

use tokio::task::JoinSet;

use super::*;
use crate::environment::Environment;
use crate::forge::Visibility;
use crate::gitops::{Deployment, manifests};
use crate::template::testing::file;

const AT: Timestamp = Timestamp::from_micros(1_790_000_000_000_000);

struct Scene {
    folder: tempfile::TempDir,
    fleet: Fleet,
}

impl Scene {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.git");
        std::fs::create_dir(&path).unwrap();
        Git::new(&path)
            .run(&["init", "--quiet", "--bare"])
            .await
            .unwrap();
        let fleet = Fleet::new(path.to_str().unwrap());
        Self { folder, fleet }
    }

    fn scratch(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(format!("scratch-{name}"));
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    async fn publish(&self, project: &str, run: &str) -> Result<Published, FleetError> {
        let files = files(project, run);
        let change = Change {
            project,
            run,
            at: AT,
            files: &files,
        };
        self.fleet
            .publish(&self.scratch(&format!("{project}-{run}")), change, &|_| {})
            .await
    }

    async fn withdraw(&self, project: &str, run: &str, written: Option<&str>) -> Withdrawn {
        let files = files(project, run);
        let change = Change {
            project,
            run,
            at: AT,
            files: &files,
        };
        let scratch = self.scratch(&format!("{project}-{run}-undo"));
        self.fleet
            .withdraw(&scratch, change, written, &|_| {})
            .await
            .unwrap()
    }

    async fn missing(&self, project: &str, run: &str) -> Vec<String> {
        self.fleet
            .missing(
                &self.scratch(&format!("{project}-{run}-look")),
                &files(project, run),
            )
            .await
            .unwrap()
    }

    async fn git(&self, args: &[&str]) -> String {
        Git::new(self.fleet.url()).run(args).await.unwrap()
    }

    /// A commit of a person to the fleet.
    async fn commit(&self, files: &[Entry]) -> String {
        let git = Git::new(self.fleet.url());
        let head = self
            .git(&["rev-parse", "-q", "--verify", "main"])
            .await
            .trim()
            .to_owned();
        let commit = Commit {
            message: "mine\n",
            at: AT,
            parent: Some(&head),
            removed: &[],
            files,
        };
        let commit = commit.make(&git).await.unwrap();
        git.run(&["update-ref", BRANCH, &commit]).await.unwrap();
        git.run(&["update-ref", "-d", "refs/surefoot/new"])
            .await
            .unwrap();
        commit
    }
}

fn files(project: &str, run: &str) -> Vec<Entry> {
    let environments = ["staging", "production"].map(|name| Environment {
        name: name.to_owned(),
        approvals: 1,
    });
    let visibility = Visibility::Private;
    manifests(&Deployment {
        project,
        run,
        url: "https://git.example/x.git",
        visibility,
        environments: &environments,
    })
}

#[tokio::test]
async fn the_same_again_makes_no_commit() {
    let scene = Scene::new().await;
    let first = scene.publish("shop", "r1").await.unwrap();
    assert!(first.new);
    assert_eq!(
        scene.publish("shop", "r1").await.unwrap(),
        Published {
            new: false,
            ..first
        }
    );
    assert_eq!(
        scene.git(&["rev-list", "--count", "main"]).await.trim(),
        "1"
    );
    assert_eq!(scene.missing("shop", "r1").await, Vec::<String>::new());
    assert_eq!(
        scene.missing("shop", "r2").await.len(),
        4,
        "another run's files are other files"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_concurrent_changes_are_all_there_and_no_commit_is_lost() {
    let scene = std::sync::Arc::new(Scene::new().await);
    let mut all = JoinSet::new();
    for number in 0..10 {
        let scene = scene.clone();
        all.spawn(async move {
            scene
                .publish(&format!("shop-{number}"), &format!("r{number}"))
                .await
                .unwrap()
        });
    }
    let published = all.join_all().await;
    assert!(published.iter().all(|published| published.new));
    assert_eq!(
        scene.git(&["rev-list", "--count", "main"]).await.trim(),
        "10"
    );
    for Published { commit, .. } in &published {
        scene
            .git(&["merge-base", "--is-ancestor", commit, "main"])
            .await;
    }
    for number in 0..10 {
        assert_eq!(
            scene
                .missing(&format!("shop-{number}"), &format!("r{number}"))
                .await,
            Vec::<String>::new()
        );
    }
}

#[tokio::test]
async fn a_folder_that_is_not_ours_is_left_as_it_is() {
    let scene = Scene::new().await;
    scene.publish("other", "r0").await.unwrap();
    let head = scene
        .commit(&[file(
            "projects/shop/repository.yaml",
            "kind: GitRepository\n",
        )])
        .await;
    for (project, run) in [("shop", "r1"), ("other", "r1")] {
        let error = scene.publish(project, run).await.unwrap_err();
        assert!(
            matches!(&error, FleetError::Taken(text) if text.contains(&format!("projects/{project}/"))),
            "{error}"
        );
        assert_eq!(
            scene.withdraw(project, run, None).await,
            Withdrawn::default()
        );
    }
    assert_eq!(scene.git(&["rev-parse", "main"]).await.trim(), head);
}

#[tokio::test]
async fn undo_removes_only_the_runs_files() {
    let scene = Scene::new().await;
    assert_eq!(
        scene.withdraw("shop", "r1", None).await,
        Withdrawn::default(),
        "the fleet is empty"
    );
    scene.publish("shop", "r1").await.unwrap();
    scene.publish("other", "r2").await.unwrap();
    scene
        .commit(&[file("projects/shop/NOTES.md", "by hand\n")])
        .await;
    assert!(scene.withdraw("shop", "r1", None).await.commit.is_some());
    assert_eq!(
        scene.withdraw("shop", "r1", None).await,
        Withdrawn::default(),
        "once is enough"
    );
    let left = scene.git(&["ls-tree", "-r", "--name-only", "main"]).await;
    let expect = "projects/other/env-production.yaml\nprojects/other/env-staging.yaml\nprojects/other/namespace.yaml\nprojects/other/repository.yaml\nprojects/shop/NOTES.md\n";
    assert_eq!(left, expect);
    assert_eq!(
        scene.git(&["rev-list", "--count", "main"]).await.trim(),
        "4"
    );
}

/// A file that people have changed since stays, though it still has the run's mark.
#[tokio::test]
async fn undo_leaves_what_people_have_changed() {
    for known in [true, false] {
        let scene = Scene::new().await;
        let written = scene.publish("shop", "r1").await.unwrap().commit;
        let edited = format!(
            "{}# by hand\n",
            scene
                .git(&["show", "main:projects/shop/repository.yaml"])
                .await
        );
        scene
            .commit(&[file("projects/shop/repository.yaml", &edited)])
            .await;
        let withdrawn = scene
            .withdraw("shop", "r1", known.then_some(written.as_str()))
            .await;
        assert!(withdrawn.commit.is_some(), "the other files are taken out");
        assert_eq!(withdrawn.kept, ["projects/shop/repository.yaml"]);
        assert_eq!(
            scene
                .git(&["show", "main:projects/shop/repository.yaml"])
                .await,
            edited
        );
        assert_eq!(
            scene.git(&["ls-tree", "-r", "--name-only", "main"]).await,
            "projects/shop/repository.yaml\n"
        );
        let again = scene
            .withdraw("shop", "r1", known.then_some(written.as_str()))
            .await;
        assert_eq!(
            again,
            Withdrawn {
                commit: None,
                kept: withdrawn.kept
            }
        );
    }
}

/// Files that an older build wrote differently are recognised by the commit that wrote them.
#[tokio::test]
async fn undo_recognises_files_of_another_build() {
    let scene = Scene::new().await;
    scene.publish("shop", "r1").await.unwrap();
    let older = format!(
        "{}# older\n",
        scene
            .git(&["show", "main:projects/shop/repository.yaml"])
            .await
    );
    let written = scene
        .commit(&[file("projects/shop/repository.yaml", &older)])
        .await;
    assert_eq!(
        scene.withdraw("shop", "r1", Some(&written)).await.kept,
        Vec::<String>::new()
    );
    assert_eq!(
        scene.git(&["ls-tree", "-r", "--name-only", "main"]).await,
        ""
    );
}

#[tokio::test]
async fn an_object_that_another_file_has_is_refused_and_a_mention_is_not() {
    let scene = Scene::new().await;
    scene.publish("other", "r0").await.unwrap();
    let mentions = [
        file("README.md", "Namespaces: shop--staging and fleet--shop\n"),
        file(
            "policies/quota.yaml",
            "kind: ResourceQuota\napiVersion: v1\nmetadata: {name: q, namespace: shop--staging}\n",
        ),
        file("policies/broken.yaml", "shop--staging: [\n"),
    ];
    scene.commit(&mentions).await;
    scene.publish("shop", "r1").await.unwrap();
    assert!(scene.withdraw("shop", "r1", None).await.commit.is_some());
    let claims = [
        "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: shop--staging\n",
        "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"fleet--shop\"}}\n",
        "a: 1\n---\napiVersion: source.toolkit.fluxcd.io/v1beta2\nkind: GitRepository\nmetadata:\n  name: 'shop'\n  namespace: fleet--shop\n",
    ];
    for claim in claims {
        let head = scene
            .commit(&[file("projects/other/by-hand.yaml", claim)])
            .await;
        let error = scene.publish("shop", "r1").await.unwrap_err();
        let names_it =
            |text: &String| text.contains("projects/other/by-hand.yaml") && text.contains("shop");
        assert!(
            matches!(&error, FleetError::Taken(text) if names_it(text)),
            "{error}"
        );
        assert_eq!(scene.git(&["rev-parse", "main"]).await.trim(), head);
    }
}

#[tokio::test]
async fn a_folder_of_an_earlier_version_is_replaced_and_taken_out_by_its_run() {
    let scene = Scene::new().await;
    scene.publish("other", "r0").await.unwrap();
    let marked = |name: &str| {
        file(
            &format!("projects/shop/{name}"),
            "metadata:\n  annotations:\n    surefoot/run: \"r1\"\n",
        )
    };
    let earlier = ["repository.yaml", "env-staging.yaml", "env-gone.yaml"].map(marked);
    let written = scene.commit(&earlier).await;
    let withdrawn = scene.withdraw("shop", "r1", Some(&written)).await;
    assert!(
        withdrawn.commit.is_some() && withdrawn.kept.is_empty(),
        "{withdrawn:?}"
    );
    scene.commit(&earlier).await;
    assert!(scene.publish("shop", "r1").await.unwrap().new);
    let files = scene
        .git(&["ls-tree", "-r", "--name-only", "main", "projects/shop/"])
        .await;
    let expect = [
        "env-production.yaml",
        "env-staging.yaml",
        "namespace.yaml",
        "repository.yaml",
    ];
    assert_eq!(
        files.lines().collect::<Vec<_>>(),
        expect.map(|name| format!("projects/shop/{name}"))
    );
}

#[tokio::test]
async fn a_server_that_refuses_is_no_conflict() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new().await;
    let hook = PathBuf::from(scene.fleet.url()).join("hooks/pre-receive");
    std::fs::create_dir_all(hook.parent().unwrap()).unwrap();
    std::fs::write(&hook, "#!/bin/sh\necho not on a Friday >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = scene.publish("shop", "r1").await.unwrap_err().to_string();
    assert!(error.contains("not on a Friday"), "{error}");
}
