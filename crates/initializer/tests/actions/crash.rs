//! The commands of a killed worker die with it.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::world::{World, group, group_of, until, words};

/// File in which the worker's command writes its process ids; set only for the process to kill.
const FILE: &str = "SUREFOOT_TEST_CRASH_FILE";

/// Not a test by itself: the process that [`the_commands_of_a_killed_worker_die_with_it`] starts
/// and kills.
#[tokio::test]
async fn a_worker_to_be_killed() {
    let Some(file) = std::env::var_os(FILE).map(PathBuf::from) else {
        return;
    };
    let file = file.display();
    // The grandchild ignores every signal that can be ignored.
    let script = format!(
        "(trap \"\" HUP INT TERM; sleep 1000 & echo $! > {file}.new; wait) & \
         sleep 1000 & while ! test -s {file}.new; do sleep 0.01; done; \
         echo $! $$ >> {file}.new; mv {file}.new {file}; wait"
    );
    World::new()
        .await
        .run(&format!(
            "- {{ id: a, action: command.run, with: {{ shell: '{script}' }} }}"
        ))
        .await;
}

#[tokio::test]
async fn the_commands_of_a_killed_worker_die_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let mut worker = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "crash::a_worker_to_be_killed"])
        .env(FILE, &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pids = words(&file).await;
    let id = group_of(&pids[0]).unwrap();
    assert_eq!(pids.len(), 3);
    until("those three, a subshell and the watchdog", || {
        (group(&id).len() == 5).then_some(())
    })
    .await;
    // SIGKILL.
    worker.kill().unwrap();
    worker.wait().unwrap();
    until("the end of the group", || {
        group(&id).is_empty().then_some(())
    })
    .await;
    assert!(pids.iter().all(|pid| group_of(pid).is_none()), "{pids:?}");
}
