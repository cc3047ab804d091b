//! Special files at the paths where a step should leave a regular one.

use std::time::Duration;

use crate::world::World;

/// Shell commands that put something at `$AT`, and the expected error.
const LEFT: [(&str, &str); 5] = [
    ("mkfifo $AT", "a named pipe"),
    ("ln -s /dev/zero $AT", "a symbolic link"),
    ("echo 1 > other; ln -s $PWD/other $AT", "a symbolic link"),
    ("mkdir $AT", "a folder"),
    (
        "python3 -c 'import os, socket; socket.socket(socket.AF_UNIX).bind(os.environ[\"AT\"])'",
        "a socket",
    ),
];

/// Runs steps that must fail, while no other task of the process is blocked.
async fn fails(world: &World, steps: &str, expect: &str) {
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let failure = world.failure(steps);
    tokio::pin!(failure);
    let (error, attempts) = loop {
        tokio::select! {
            failure = &mut failure => break failure,
            _ = ticks.tick() => {}
        }
    };
    assert!(
        error.contains(expect) && attempts == 1,
        "{steps}: {error} after {attempts} attempts"
    );
}

#[tokio::test]
async fn special_files_as_a_commands_output_fail_the_step() {
    let world = World::new().await;
    for (shell, expect) in LEFT {
        let steps = format!(
            "- {{ id: a, action: command.run, with: {{ shell: {:?} }} }}",
            format!("AT=$SUREFOOT_OUTPUT; export AT; {shell}")
        );
        fails(&world, &steps, expect).await;
    }
    for shell in [
        "truncate -s 6G $SUREFOOT_OUTPUT",
        "yes | head -c 1048577 > $SUREFOOT_OUTPUT",
    ] {
        let steps = format!("- {{ id: a, action: command.run, with: {{ shell: {shell:?} }} }}");
        fails(&world, &steps, "it is larger than 1 MiB").await;
    }
}

#[tokio::test]
async fn special_files_in_a_workspace_fail_the_step_that_opens_them() {
    let world = World::new().await;
    let check = async |shell: &str, action: &str, expect: &str| {
        let makes = format!("AT=p; export AT; {shell}");
        let make = format!("- {{ id: make, action: command.run, with: {{ shell: {makes:?} }} }}");
        fails(
            &world,
            &format!("{make}\n- {{ id: use, action: {action} }}"),
            expect,
        )
        .await;
    };
    let [write, render] = [
        "file.write, with: { path: p, content: x }",
        "template.render, with: { from: p, to: q }",
    ];
    let [pipe, zero, link, folder, socket] = LEFT.map(|(shell, _)| shell);
    for action in [write, render] {
        check(pipe, action, "it is a named pipe").await;
        check(zero, action, "symbolic link").await;
        check(socket, action, "it is a socket").await;
    }
    check(link, write, "symbolic link").await;
    check(folder, write, "it is a folder").await;
    check("truncate -s 6G p", render, "larger than").await;
    check(
        "mkdir t; mkfifo t/p",
        "template.render, with: { from: t, to: q }",
        "neither a file",
    )
    .await;
    check(
        "truncate -s 6G p",
        "sleep, with: { duration: 0s }",
        "larger than 256 MiB",
    )
    .await;
}
