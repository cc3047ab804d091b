//! `git.clone`, `git.commit` and `git.push`.

use std::path::Path;

use serde_json::json;
use surefoot_initializer::git::Git;

use crate::world::World;

/// A bare repository with one commit on `main` and another on `next`; returns the first one's id.
async fn repository(world: &World) -> String {
    let bare = world.path("shop.git");
    let work = world.path("work");
    std::fs::create_dir_all(&work).unwrap();
    let git = Git::new(&work).identity(
        "Ada",
        "ada@example.org",
        surefoot::Timestamp::from_micros(0),
    );
    std::fs::write(work.join("a.txt"), "first\n").unwrap();
    for args in [
        &["init", "--quiet"][..],
        &["add", "--all"],
        &["commit", "--quiet", "-m", "first"],
        &["switch", "--quiet", "-c", "next"],
        &["commit", "--quiet", "--allow-empty", "-m", "second"],
        &["switch", "--quiet", "main"],
        &[
            "clone",
            "--quiet",
            "--bare",
            ".",
            &bare.display().to_string(),
        ],
    ] {
        git.run(args).await.unwrap();
    }
    line(&bare, &["rev-parse", "main"]).await
}

async fn line(dir: &Path, args: &[&str]) -> String {
    Git::new(dir).run(args).await.unwrap().trim().to_owned()
}

#[tokio::test]
async fn clone_change_commit_push() {
    let world = World::new().await;
    let first = repository(&world).await;
    let bare = world.path("shop.git");
    let run = world
        .run(&format!(
            r"
- {{ id: clone, action: git.clone, with: {{ url: '{}', path: shop }} }}
- {{ id: write, action: file.write, with: {{ path: shop/b.txt, content: x }} }}
- {{ id: commit, action: git.commit, with: {{ path: shop, message: '# add b', author: 'Eve <eve@example.org>' }} }}
- {{ id: push, action: git.push, with: {{ path: shop }} }}
- {{ id: again, action: git.push, with: {{ path: shop }} }}
- {{ id: other, action: git.push, with: {{ path: shop, remote: '{}', branch: topic/b }} }}
",
            bare.display(),
            bare.display()
        ))
        .await;
    assert_eq!(
        run.head.status.to_string(),
        "completed",
        "{:?}",
        run.head.error
    );
    assert_eq!(
        run.steps[0].output,
        Some(json!({ "path": "shop", "commit": first, "branch": "main" }))
    );
    let commit = run.steps[2].output.as_ref().unwrap()["commit"]
        .as_str()
        .unwrap();
    assert_eq!(line(&bare, &["rev-parse", "main"]).await, commit);
    assert_eq!(line(&bare, &["rev-parse", "topic/b"]).await, commit);
    let seconds = run.created_at.as_micros() / 1_000_000;
    let expect = format!(
        "{first} Eve <eve@example.org> {seconds} # add b\n\nSurefoot-Step: {}/commit",
        run.id
    );
    assert_eq!(
        line(
            &bare,
            &["log", "-1", "--format=%P %an <%ae> %at %B", "main"]
        )
        .await,
        expect
    );
}

#[tokio::test]
async fn a_reference_is_a_branch_a_tag_or_a_commit() {
    let world = World::new().await;
    let first = repository(&world).await;
    let bare = world.path("shop.git");
    line(&bare, &["tag", "v1", "main"]).await;
    let next = line(&bare, &["rev-parse", "next"]).await;
    let check = async |reference: &str, commit: &str, branch: &str| {
        let steps = format!(
            "- {{ id: a, action: git.clone, with: {{ url: '{}', ref: {reference} }} }}",
            bare.display()
        );
        let expect = json!({ "path": "", "commit": commit, "branch": branch });
        assert_eq!(world.output(&steps).await, expect, "{reference}");
    };
    check("next", &next, "next").await;
    check("v1", &first, "").await;
    check(&format!("'{first}'"), &first, "").await;
}

#[tokio::test]
async fn a_push_finds_what_an_interrupted_attempt_pushed_under_what_others_pushed_since() {
    let world = World::new().await;
    repository(&world).await;
    let url = world.path("shop.git").display().to_string();
    let git = "git -c user.name=A -c user.email=a@b";
    // The remains of an attempt that pushed and was interrupted, and a later push of another
    // person.
    let steps = |pushed: &str| {
        format!(
            r#"
- {{ id: clone, action: git.clone, with: {{ url: '{url}', path: shop }} }}
- {{ id: write, action: file.write, with: {{ path: shop/b.txt, content: '{pushed}' }} }}
- {{ id: commit, action: git.commit, with: {{ path: shop, message: '{pushed}' }} }}
- id: between
  action: command.run
  with:
    shell: '{pushed} && git clone -q {url} other && cd other && {git} commit -q --allow-empty -m more && git push -q'
- {{ id: push, action: git.push, retry: {{ attempts: 1 }}, with: {{ path: shop }} }}
"#
        )
    };
    let run = world.run(&steps("git -C shop push -q")).await;
    assert_eq!(
        run.head.status.to_string(),
        "completed",
        "{:?}",
        run.head.error
    );
    let ours = run.steps[4].output.as_ref().unwrap()["commit"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        line(&world.path("shop.git"), &["rev-parse", "main^"]).await,
        ours
    );
    let (error, _) = world.failure(&steps("true")).await;
    assert!(
        error.contains("git push failed") && error.contains("(fetch first)"),
        "{error}"
    );
}

#[tokio::test]
async fn a_commit_is_made_once_however_often_its_step_runs() {
    let world = World::new().await;
    repository(&world).await;
    let url = world.path("shop.git").display().to_string();
    // The remains of an attempt that was interrupted after its commit, created by hand.
    let key = "$SUREFOOT_RUN/commit";
    let run = world
        .run(&format!(
            r#"
- {{ id: clone, action: git.clone, with: {{ url: '{url}' }} }}
- id: before
  action: command.run
  with:
    shell: 'git -c user.name=A -c user.email=a@b commit -q --allow-empty -m "earlier attempt" -m "Surefoot-Step: {key}" && git rev-parse HEAD | sed "s/.*/\"&\"/" > $SUREFOOT_OUTPUT'
- {{ id: commit, action: git.commit, with: {{ message: again }} }}
- {{ id: other, action: git.commit, with: {{ message: nothing new }} }}
"#
        ))
        .await;
    assert_eq!(
        run.head.status.to_string(),
        "completed",
        "{:?}",
        run.head.error
    );
    let made = run.steps[1].output.clone().unwrap();
    assert_eq!(
        run.steps[2].output,
        Some(json!({ "commit": made, "changed": true }))
    );
    assert_eq!(
        run.steps[3].output,
        Some(json!({ "commit": made, "changed": false }))
    );
}

#[tokio::test]
async fn errors_of_git_are_explained() {
    let world = World::new().await;
    repository(&world).await;
    let url = world.path("shop.git").display().to_string();
    let check = async |steps: &str, expect: &str| {
        let steps = steps
            .replace("URL", &url)
            .replace(" }\n", " , retry: { attempts: 1 } }\n");
        let (error, attempts) = world.failure(&steps).await;
        assert!(error.contains(expect) && attempts == 1, "{steps}: {error}");
    };
    check(
        "- { id: a, action: git.clone, with: { url: '--upload-pack=x' } }\n",
        "begins with `-`",
    )
    .await;
    check(
        "- { id: a, action: git.clone, with: { url: 'ext::true' } }\n",
        "not allowed",
    )
    .await;
    check(
        "- { id: a, action: git.clone, with: { url: URL, ref: no-such-ref } }\n",
        "git checkout failed",
    )
    .await;
    check(
        "- { id: a, action: git.clone, with: { url: URL, ref: '-f' } }\n",
        "begins with `-`",
    )
    .await;
    check(
        "- { id: a, action: git.clone, with: { url: URL, path: ../x } }\n",
        "leaves the workspace",
    )
    .await;
    check(
        "- { id: a, action: git.clone, with: { url: URL, credential: forge } }\n",
        "is not of http or https",
    )
    .await;
    let write = "- { id: w, action: file.write, with: { path: x, content: x } }\n";
    check(
        &format!("{write}- {{ id: a, action: git.clone, with: {{ url: URL }} }}\n"),
        "the workspace is not empty",
    )
    .await;
    check(
        &format!("{write}- {{ id: a, action: git.commit, with: {{ message: m }} }}\n"),
        "not a git repository",
    )
    .await;
    let clone = "- { id: c, action: git.clone, with: { url: URL } }\n";
    check(
        &format!("{clone}- {{ id: a, action: git.commit, with: {{ message: m, author: me }} }}\n"),
        "`Name <address>`",
    )
    .await;
    check(
        &format!("{clone}- {{ id: a, action: git.push, with: {{ branch: 'a..b' }} }}\n"),
        "not a valid branch name",
    )
    .await;
    check(
        &format!("{clone}- {{ id: a, action: git.push, with: {{ remote: gone }} }}\n"),
        "git push failed",
    )
    .await;
}
