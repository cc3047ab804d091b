//! `command.run`.

use std::sync::Arc;

use serde_json::json;
use surefoot::state::CancelMode;
use surefoot::{Submit, Workflow};

use crate::world::{World, group, group_of, until, words};

#[tokio::test]
async fn a_command_leaves_an_output_and_a_log() {
    let world = World::new().await;
    let run = world
        .run(
            r#"
- id: build
  action: command.run
  with:
    shell: |
      echo "hello from $SUREFOOT_STEP, attempt $SUREFOOT_ATTEMPT"
      echo "to the side" >&2
      printf '{"run": "%s", "key": "%s", "port": %s}' "$SUREFOOT_RUN" "$SUREFOOT_IDEMPOTENCY_KEY" "$PORT" > "$SUREFOOT_OUTPUT"
    env: { PORT: 8080 }
"#,
        )
        .await;
    let id = run.id.to_string();
    let key = format!("{}/build", run.id);
    assert_eq!(
        run.steps[0].output,
        Some(json!({ "run": id, "key": key, "port": 8080 }))
    );
    let mut log = world.log(&run).await;
    log.sort();
    assert_eq!(log, ["hello from build, attempt 1", "to the side"]);
}

#[tokio::test]
async fn arguments_are_taken_as_they_are() {
    let world = World::new().await;
    let run = world.run("- { id: a, action: command.run, with: { argv: [printf, '%s|', '$HOME', 'a b', '*'] } }").await;
    assert_eq!(world.log(&run).await, ["$HOME|a b|*|"]);
}

#[tokio::test]
async fn a_command_works_in_the_workspace_and_only_there() {
    let world = World::new().await;
    let run = world
        .run(
            r"
- { id: make, action: command.run, with: { shell: 'mkdir -p a/b && ln -s .. a/up && ln -s / root && echo x > a/b/c' } }
- { id: read, action: command.run, with: { shell: cat c, cwd: a/b } }
- { id: through, action: command.run, with: { shell: cat a/b/c, cwd: a/up } }
",
        )
        .await;
    assert_eq!(world.log(&run).await, ["x", "x"], "{:?}", run.head.error);
    for (cwd, expect) in [
        ("..", "leaves the workspace"),
        ("/", "leaves the workspace"),
        ("root", "symbolic link"),
    ] {
        let steps = format!(
            "- {{ id: make, action: command.run, with: {{ shell: ln -s / root }} }}\n\
             - {{ id: out, action: command.run, with: {{ shell: pwd, cwd: {cwd} }} }}"
        );
        let (error, attempts) = world.failure(&steps).await;
        assert!(error.contains(expect) && attempts == 1, "{cwd}: {error}");
    }
}

#[tokio::test]
async fn a_failure_is_explained_and_retried() {
    let world = World::new().await;
    let check = async |with: &str, expect: &str, expect_attempts: u32| {
        let retry = "retry: { attempts: 2, backoff: { fixed: 1ms } }";
        let steps = format!("- {{ id: a, action: command.run, {retry}, with: {{ {with} }} }}");
        assert_eq!(
            world.failure(&steps).await,
            (expect.to_owned(), expect_attempts),
            "{with}"
        );
    };
    check(
        "shell: 'echo no disk >&2; echo out; exit 3'",
        "the command failed (exit status: 3): no disk",
        2,
    )
    .await;
    check("shell: 'exit 4'", "the command failed (exit status: 4)", 2).await;
    check(
        "shell: 'kill -9 $$'",
        "the command failed (signal: 9 (SIGKILL))",
        2,
    )
    .await;
    check(
        "argv: [no-such-command-here]",
        "there is no command `no-such-command-here` on this machine",
        1,
    )
    .await;
    let json =
        "what the command left in SUREFOOT_OUTPUT is not JSON: expected value at line 1 column 1";
    check("shell: 'echo oops > $SUREFOOT_OUTPUT'", json, 1).await;
}

#[tokio::test]
async fn secrets_reach_the_command_and_nothing_else() {
    let world = World::new().await;
    let run = world
        .run(
            r#"
- id: a
  action: command.run
  with:
    shell: 'test "$TOKEN" = hunter2-token && echo "token $TOKEN" && printf "\"%s\"" "$TOKEN" > "$SUREFOOT_OUTPUT"'
    credentials: { TOKEN: forge }
"#,
        )
        .await;
    assert_eq!(world.log(&run).await, ["token ***"]);
    assert_eq!(run.steps[0].output, Some(json!("***")));
    let (error, attempts) = world
        .failure(
            "- { id: a, action: command.run, with: { shell: 'true', credentials: { T: none } } }",
        )
        .await;
    assert_eq!((error.as_str(), attempts), ("no credential `none`", 1));
}

#[tokio::test]
async fn a_long_line_is_cut_and_an_endless_log_ends() {
    let world = World::new().await;
    let run = world
        .run("- { id: a, action: command.run, with: { shell: 'head -c 40000 /dev/zero | tr \"\\0\" x; echo; echo end' } }")
        .await;
    let log = world.log(&run).await;
    assert!(
        log[0].ends_with("x [cut]") && log[0].len() < 17_000 && log[1] == "end",
        "{}",
        log.len()
    );
    let run = world
        .run("- { id: a, action: command.run, with: { shell: 'yes | head -c 10000000' } }")
        .await;
    let log = world.log(&run).await;
    assert!(
        log.len() < 100_000 && log.last().unwrap().contains("more than 4 MiB"),
        "{}",
        log.len()
    );
}

/// A command that writes its own process id and its child's to a file, and never ends.
fn endless(file: &std::path::Path) -> String {
    let file = file.display();
    format!("shell: 'sleep 1000 & echo $! $$ > {file}.new; mv {file}.new {file}; wait'")
}

async fn nothing_left(pids: &[String]) {
    let dead = || pids.iter().all(|pid| group_of(pid).is_none()).then_some(());
    until(&format!("the end of processes {pids:?}"), dead).await;
}

#[tokio::test]
async fn a_timeout_leaves_no_process() {
    let world = World::new().await;
    let file = world.path("pids");
    // Enough time to write them, even on a busy machine.
    let steps = format!(
        "- {{ id: a, action: command.run, timeout: 10s, retry: {{ attempts: 1 }}, with: {{ {} }} }}",
        endless(&file)
    );
    let (error, _) = world.failure(&steps).await;
    assert_eq!(error, "timed out after 10s");
    nothing_left(&words(&file).await).await;
}

#[tokio::test]
async fn a_cancel_leaves_no_process() {
    let world = World::new().await;
    let file = world.path("pids");
    let run = world
        .submit(&format!(
            "- {{ id: a, action: command.run, with: {{ {} }} }}",
            endless(&file)
        ))
        .await;
    let pids = words(&file).await;
    let id = group_of(&pids[1]).unwrap();
    until("the shell, its child and the watchdog", || {
        (group(&id).len() == 3).then_some(())
    })
    .await;
    world
        .client()
        .cancel(run.id, CancelMode::Stop, "ada")
        .await
        .unwrap();
    assert_eq!(world.wait(&run).await.head.status.to_string(), "cancelled");
    nothing_left(&pids).await;
    until("the end of the group", || {
        group(&id).is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_background_process_ends_with_its_step() {
    let world = World::new().await;
    let output = world
        .output(
            "- { id: a, action: command.run, with: { shell: 'sleep 1000 & echo \"\\\"$!\\\"\" > $SUREFOOT_OUTPUT' } }",
        )
        .await;
    nothing_left(&[output.as_str().unwrap().to_owned()]).await;
}

#[tokio::test]
async fn a_value_in_a_script_is_never_code() {
    let world = World::new().await;
    let steps = "- { id: a, action: command.run, with: { argv: [sh, -c, 'printf %s \"$V\" > \"$SUREFOOT_OUTPUT\"'], \
                 env: { V: '{\"x\": \"; echo HACKED $(echo HACKED)\", \"on\": true}' } } }\n\
                 - id: b\n  action: command.run\n  with:\n    shell: |\n      echo got ${{ steps.a.output.x }}\n      \
                 if [ \"${{ steps.a.output.on }}\" = true ]; then echo 'on: ${{ steps.a.output.on }}'; fi\n";
    let run = world.run(steps).await;
    assert_eq!(
        run.head.status.to_string(),
        "completed",
        "{:?}",
        run.head.error
    );
    assert_eq!(
        world.log(&run).await,
        ["got ; echo HACKED $(echo HACKED)", "on: true"]
    );
}

#[tokio::test]
async fn a_stored_script_with_an_expression_as_a_command_does_not_run() {
    let world = World::new().await;
    let steps = "- { id: a, action: command.run, retry: { attempts: 3 }, with: { shell: \"${{ 'echo HACKED' }}\" } }";
    let workflow = Workflow::from_yaml(&format!("workflow: old\nsteps:\n{steps}")).unwrap();
    let run = world
        .client()
        .submit(Submit::new(Arc::new(workflow)))
        .await
        .unwrap()
        .run;
    let run = world.wait(&run).await;
    let error = run.steps[0].error.clone().unwrap_or_default();
    assert!(
        error.contains("an expression stands in place of a command's name: write `env:"),
        "{error}"
    );
    assert_eq!(run.steps[0].attempt, 1);
}
