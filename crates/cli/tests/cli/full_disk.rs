//! A disk that fills up in mid-run: a real one, of eight megabytes, in a mount namespace of the
//! test's own.

use std::process::Command;

use crate::place::Place;

/// Mounts a small file system on the data directory, which the workflow fills up to what a
/// heartbeat needs and a snapshot does not fit in: to 120 KiB, and at no moment further. Frees it
/// some heartbeats after the program said that it cannot write.
const SCRIPT: &str = r#"
mkdir -p data && mount -t tmpfs -o size=8m tmpfs data || exit 77
(
    tries=0
    until grep -q "cannot be written" said || [ $tries -gt 600 ]; do sleep 0.05; tries=$((tries + 1)); done
    sleep 4
    rm -f data/fill
) &
"$1" run full.yaml > printed 2> said
status=$?
wait
"$1" show "$(cat run)" --json
exit $status
"#;

#[test]
fn a_disk_that_fills_up_in_mid_run_is_waited_for_and_nothing_is_lost() {
    let place = Place::new();
    let ledger = place.path().join("ledger").display().to_string();
    let run = place.path().join("run").display().to_string();
    let data = place.data().display().to_string();
    let workflow = format!(
        r#"workflow: full
steps:
  - id: before
    action: command.run
    with: {{ shell: "echo before >> {ledger}; echo $SUREFOOT_RUN > {run}" }}
  - id: fills
    action: command.run
    with: {{ shell: "echo fills >> {ledger}; head -c 400000 /dev/urandom > out; dd if=/dev/zero of={data}/fill bs=4k count=$(($(stat -f -c %a {data}) - 30)) 2> /dev/null" }}
  - id: after
    action: command.run
    with: {{ shell: "echo after >> {ledger}" }}
"#
    );
    place.write("full.yaml", &workflow);
    let mut command = Command::new("unshare");
    command.args([
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        SCRIPT,
        "sh",
        env!("CARGO_BIN_EXE_surefoot"),
    ]);
    command
        .current_dir(place.path())
        .env("SUREFOOT_DATA_DIR", place.data());
    command.env_remove("SUREFOOT_STORE").env_remove("RUST_LOG");
    let ran = place.ran(command);
    let said = std::fs::read_to_string(place.path().join("said")).unwrap_or_default();
    assert_eq!(ran.status, 0, "{said}\n{}{}", ran.stdout, ran.stderr);
    let times = |what: &str| said.matches(what).count();
    assert_eq!(
        (times("cannot be written"), times("is available again")),
        (1, 1),
        "{said}"
    );
    let ledger = std::fs::read_to_string(place.path().join("ledger")).unwrap();
    assert_eq!(ledger, "before\nfills\nafter\n", "each step ran once");
    let shown: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(shown["status"], "completed");
    assert_eq!(
        shown["steps"][1]["attempt"], 1,
        "the outage spent no attempt"
    );
}
