use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use super::*;

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

async fn output(script: &str, input: Option<&[u8]>) -> (String, ExitStatus) {
    let mut seen = Vec::new();
    let take = |_, piece: &[u8]| seen.extend_from_slice(piece);
    let ended = run(&mut shell(script), input, &CancellationToken::new(), take)
        .await
        .unwrap();
    (String::from_utf8(seen).unwrap(), ended.status)
}

/// Returns whether the process exists and is no zombie.
fn lives(pid: &str) -> bool {
    let stat =
        std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with(['Z', 'X']))
}

async fn gone(pid: &str) {
    let wait = async {
        while lives(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait)
        .await
        .unwrap_or_else(|_| panic!("process {pid} still lives"));
}

#[tokio::test]
async fn gives_output_status_and_input() {
    let (text, status) = output("cat; echo err >&2; exit 3", Some(b"in\n")).await;
    assert_eq!((text.as_str(), status.code()), ("in\nerr\n", Some(3)));
    let (text, _) = output("cat; echo end", None).await;
    assert_eq!(text, "end\n");
}

#[tokio::test]
async fn unread_input_is_no_error() {
    let (_, status) = output("exit 0", Some(&vec![b'x'; 1 << 20])).await;
    assert!(status.success());
}

#[tokio::test]
async fn output_and_input_larger_than_a_pipe_do_not_block_each_other() {
    let input = vec![b'x'; 1 << 20];
    let (text, status) = output("cat", Some(&input)).await;
    assert_eq!((text.len(), status.success()), (1 << 20, true));
}

#[tokio::test]
async fn background_processes_of_a_command_are_killed() {
    let (text, status) = output("sleep 1000 & echo $!", None).await;
    assert!(status.success());
    gone(text.trim()).await;
}

/// A background process has a tenth of a second, which a busy machine may need to start it: one of
/// several is heard.
#[tokio::test]
async fn the_last_output_of_a_pipe_is_read() {
    let mut heard = String::new();
    for _ in 0..20 {
        heard = output("{ sleep 0.02; echo late; } & echo soon", None)
            .await
            .0;
        if heard == "soon\nlate\n" {
            return;
        }
    }
    panic!("the last of them said {heard:?}");
}

/// Output and end of a command that is stopped at its first output.
async fn stopped(script: &str) -> (String, Ended) {
    let cancel = CancellationToken::new();
    let mut seen = String::new();
    let mut command = shell(script);
    let ended = run(&mut command, None, &cancel, |_, piece| {
        seen.push_str(&String::from_utf8_lossy(piece));
        cancel.cancel();
    });
    let ended = ended.await.unwrap();
    (seen, ended)
}

#[tokio::test]
async fn a_cancel_lets_a_command_clean_up() {
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let (mut seen, mut ended) = stopped(script).await;
    // It has two seconds for that, during which a busy machine may do something else.
    if ended.status.code().is_none() {
        (seen, ended) = stopped(script).await;
    }
    // The shell may report on its other stream, sooner or later, that its `sleep` was terminated.
    assert!(
        seen.starts_with("ready\n") && seen.contains("bye\n"),
        "{seen}"
    );
    assert_eq!((ended.status.code(), ended.cancelled), (Some(7), true));
}

#[tokio::test]
async fn a_cancel_kills_a_command_that_ignores_term() {
    let (seen, ended) = stopped("trap '' TERM; sleep 1000 & echo $!; wait").await;
    assert_eq!((ended.status.code(), ended.cancelled), (None, true));
    gone(seen.trim()).await;
}

#[tokio::test]
async fn dropping_the_future_kills_the_group() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pids");
    let script = format!(
        "sleep 1000 & echo $! $$ > {0}.new; mv {0}.new {0}; wait",
        file.display()
    );
    let mut command = shell(&script);
    let cancel = CancellationToken::new();
    let running = run(&mut command, None, &cancel, |_, _| ());
    let appeared = async {
        while !file.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::select! {
        _ = running => panic!("the command ended by itself"),
        () = appeared => (),
    }
    for pid in std::fs::read_to_string(&file).unwrap().split_whitespace() {
        gone(pid).await;
    }
}

#[tokio::test]
async fn a_command_that_is_not_there_is_an_error() {
    let ended = run(
        &mut Command::new("/no/such/command"),
        None,
        &CancellationToken::new(),
        |_, _| (),
    )
    .await;
    assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::NotFound);
}
