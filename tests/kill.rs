//! Promises 1 to 5 with the real binary, the real git and kill -9: killed at random moments, many
//! times over, and started again with the same command, a run ends as if nothing had happened.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]

#[path = "common/mod.rs"]
#[expect(
    dead_code,
    reason = "each test binary uses its part of what they share"
)]
mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use common::{Place, Random, git, is_alive, lines, median, now, stamped, text, until};
use serde_json::Value;
use surefoot::Timestamp;

/// Steps of a run by id, from `show --json`.
fn steps(shown: &Value) -> BTreeMap<String, Value> {
    let steps = shown["steps"].as_array().expect("steps");
    steps
        .iter()
        .map(|step| (step["id"].as_str().expect("id").to_owned(), step.clone()))
        .collect()
}

/// A run as it is stored, if it was submitted.
fn shown(place: &Place, run: &str) -> Option<Value> {
    let output = place.run(&["show", run, "--json"]);
    output
        .status
        .success()
        .then(|| serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn is_completed(place: &Place, run: &str) -> bool {
    shown(place, run).is_some_and(|shown| shown["status"] == "completed")
}

fn check_project(place: &Place, name: &str, what: &str) {
    let shown = place.json(&["show", name, "--json"]);
    assert_eq!(shown["status"], "completed", "{what}: {shown}");
    assert_eq!(shown["progress"], 100, "{what}");
    for (id, step) in steps(&shown) {
        let state = (step["status"].as_str(), step["attempt"].as_u64());
        let history = || text(&place.run(&["watch", name]));
        assert_eq!(
            state,
            (Some("completed"), Some(1)),
            "{what}: {id}: {step}\n{}",
            history()
        );
    }
    let repositories = place.data().join("repositories");
    let repository = repositories.join(format!("{name}.git"));
    assert_eq!(
        git(&repository, &["rev-list", "--all", "--count"]),
        "1",
        "{what}: one commit"
    );
    git(&repository, &["fsck", "--strict"]);
    let fleet = git(
        &repositories.join("fleet.git"),
        &[
            "log",
            "--format=%s%n%b",
            "--all",
            "--",
            &format!("projects/{name}"),
        ],
    );
    assert_eq!(
        fleet.matches("Surefoot-").count().min(1),
        fleet.len().min(1),
        "{what}: {fleet}"
    );
    let commits = git(
        &repositories.join("fleet.git"),
        &[
            "rev-list",
            "--all",
            "--count",
            "--",
            &format!("projects/{name}"),
        ],
    );
    assert_eq!(commits, "1", "{what}: one commit of the GitOps files");
    let environments = place.json(&["records", "--kind", "environment", "--json"]);
    assert_eq!(
        environments.as_array().expect("records").len(),
        3,
        "{what}: {environments}"
    );
    let names = std::fs::read_dir(&repositories)
        .expect("repositories")
        .map(|it| it.expect("entry").file_name())
        .collect::<Vec<_>>();
    assert_eq!(
        names.len(),
        3,
        "{what}: nothing is left beside the repositories and the forge's mark: {names:?}"
    );
}

/// Starts and kills repeatedly; each life lasts a little longer, so that every project ends.
#[test]
fn init_killed_at_random_moments() {
    for seed in 1..=12 {
        let place = Place::new();
        let mut random = Random::new(seed);
        let mut lives = 0;
        loop {
            lives += 1;
            let process = place.start(&mut place.command(&["init", "my-service"]));
            let life = Duration::from_millis(random.below(150 + lives * 40));
            let killed_at = Instant::now() + life;
            std::thread::sleep(killed_at.saturating_duration_since(Instant::now()));
            process.kill();
            if lives >= 40 || is_completed(&place, "my-service") {
                break;
            }
        }
        place.expect(0, &["init", "my-service"]);
        check_project(&place, "my-service", &format!("seed {seed}, {lives} lives"));
    }
}

const LEDGER: &str = r#"
workflow: ledger
parameters: { properties: { ledger: { type: string } } }
steps:
"#;

/// Seven steps that each write a line before their effect and one after, with a moment in between.
fn ledger_workflow() -> String {
    (1..=7).fold(LEDGER.to_owned(), |file, n| {
        let shell = format!(
            "echo begin s{n} $SUREFOOT_ATTEMPT $SUREFOOT_IDEMPOTENCY_KEY $(date +%s%N) >> $LEDGER; sleep 0.03; echo end s{n} >> $LEDGER"
        );
        file + &format!("  - id: s{n}\n    action: command.run\n    max_interruptions: 1000\n    with: {{ shell: '{shell}', env: {{ LEDGER: '${{{{ parameters.ledger }}}}' }} }}\n")
    })
}

/// Lines of steps that start. A line of a step that ends may be the last output of a command whose
/// worker was killed.
fn begins(ledger: &Path) -> Vec<String> {
    lines(ledger)
        .into_iter()
        .filter(|line| line.starts_with("begin "))
        .collect()
}

/// Waits until the run moves: the time from `start` until a step starts, by its own stamp; `None`
/// if the run only had to end.
fn moved(place: &Place, ledger: &Path, before: usize, start: Timestamp) -> Option<Duration> {
    // Polling the store starts a process, which would delay the run on a small machine.
    let mut asked_at = Instant::now();
    until("the run moves", || {
        if let Some(line) = begins(ledger).get(before) {
            return Some(Some(
                stamped(line.rsplit_once(' ').expect("a stamp").1).since(start),
            ));
        }
        if asked_at.elapsed() < Duration::from_millis(100) {
            return None;
        }
        let completed = is_completed(place, "one");
        asked_at = Instant::now();
        completed.then_some(None)
    })
}

#[test]
fn a_completed_step_never_runs_again_and_the_run_moves_within_a_second() {
    let mut delays = Vec::new();
    for seed in 100..108 {
        let place = Place::new();
        let mut random = Random::new(seed);
        std::fs::write(place.path("ledger.yaml"), ledger_workflow()).expect("written");
        let ledger = place.path("ledger");
        let parameter = format!("ledger={}", ledger.display());
        let args = ["run", "ledger.yaml", "-p", &parameter, "--key", "one"];
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for life in 0.. {
            assert!(life < 200, "seed {seed}: never ends");
            let before = begins(&ledger).len();
            let start = now();
            let process = place.start(&mut place.command(&args));
            if life > 0 {
                delays.extend(moved(&place, &ledger, before, start));
            }
            // A run that needs many lives gets longer ones, so that it ends on a slow machine too.
            std::thread::sleep(Duration::from_millis(
                random.below(120 + 20 * u64::saturating_sub(life, 40)),
            ));
            process.kill();
            // Absent: the process was killed before the run was submitted.
            let Some(shown) = shown(&place, "one") else {
                continue;
            };
            let written = lines(&ledger);
            for (id, _) in steps(&shown)
                .iter()
                .filter(|(_, step)| step["status"] == "completed")
            {
                let count = written
                    .iter()
                    .filter(|line| line.starts_with(&format!("begin {id} ")))
                    .count();
                let known = *counts.entry(id.clone()).or_insert(count);
                assert_eq!(
                    count, known,
                    "seed {seed}, life {life}: {id} ran again after it had completed"
                );
            }
            if shown["status"] == "completed" {
                break;
            }
        }
        let output = place.expect(0, &args);
        let written = lines(&ledger);
        for n in 1..=7 {
            let begins = begins_of(&written, n);
            assert!(!begins.is_empty(), "seed {seed}: {}", text(&output));
            assert!(
                begins.iter().all(|line| *line == begins[0]),
                "seed {seed}: one attempt, one key: {begins:?}"
            );
            assert!(
                written.contains(&format!("end s{n}")),
                "seed {seed}: s{n} {written:#?}"
            );
        }
    }
    assert!(!delays.is_empty(), "no life had a step to begin");
    // The median over all seeds: a few lives in which the machine was busy are no broken promise.
    let delay = median(delays.clone());
    assert!(
        delay < Duration::from_secs(1),
        "it moves {delay:?} after a start: {delays:?}"
    );
}

/// Lines that a step wrote at its starts, without their times.
fn begins_of(written: &[String], step: usize) -> Vec<&str> {
    let begin = format!("begin s{step} ");
    let lines = written.iter().filter(|line| line.starts_with(&begin));
    lines
        .map(|line| line.rsplit_once(' ').expect("a stamp").0)
        .collect()
}

/// Commands started by a killed worker die with it.
#[test]
fn commands_die_with_their_worker() {
    let place = Place::new();
    let pid = place.path("pid");
    let shell = format!(
        "sleep 1000 & echo $! > {0}.tmp; mv {0}.tmp {0}; wait",
        pid.display()
    );
    let file = format!(
        "workflow: hangs\nsteps:\n  - id: hang\n    action: command.run\n    with: {{ shell: '{shell}' }}\n"
    );
    std::fs::write(place.path("hang.yaml"), file).expect("written");
    let process = place.start(&mut place.command(&["run", "hang.yaml"]));
    let grandchild = until("the command starts", || std::fs::read_to_string(&pid).ok())
        .trim()
        .to_owned();
    let folder = std::path::PathBuf::from(format!("/proc/{grandchild}"));
    assert!(folder.exists());
    process.kill();
    // A zombie that was not reaped yet is no longer running.
    let gone = || {
        let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    };
    until("the grandchild is gone", gone);
}

/// SIGTERM: the running step is interrupted when its grace period is over, uses no attempt, and the
/// next start resumes the run.
#[test]
fn sigterm_hands_back_and_spends_no_attempt() {
    let place = Place::new();
    let marker = place.path("marker");
    let shell = format!(
        "if [ -e {0} ]; then exit 0; fi; touch {0}; sleep 1000",
        marker.display()
    );
    let file = format!(
        "workflow: slow\nsteps:\n  - id: slow\n    action: command.run\n    with: {{ shell: '{shell}' }}\n"
    );
    std::fs::write(place.path("slow.yaml"), file).expect("written");
    std::fs::create_dir_all(place.data()).expect("made");
    std::fs::write(
        place.data().join("surefoot.toml"),
        "[worker]\ngrace = \"100ms\"\n",
    )
    .expect("written");
    let args = ["run", "slow.yaml", "--key", "slow"];
    let process = place.start(&mut place.command(&args));
    until("the step is under way", || marker.exists().then_some(()));
    process.signal("-TERM");
    let output = process.finish();
    assert_ne!(output.status.code(), Some(0), "{}", text(&output));
    let shown = place.json(&["show", "slow", "--json"]);
    assert_eq!(
        (
            shown["status"].as_str(),
            shown["steps"][0]["attempt"].as_u64()
        ),
        (Some("queued"), Some(1)),
        "{shown}"
    );
    place.expect(0, &args);
    let shown = place.json(&["show", "slow", "--json"]);
    assert_eq!(shown["steps"][0]["attempt"], 1);
    assert_eq!(
        (
            &shown["steps"][0]["interruptions"],
            &shown["steps"][0]["crashes"]
        ),
        (&1.into(), &0.into())
    );
}

/// A step that kills its worker at every attempt fails; its neighbours complete, however often they
/// died with it.
#[test]
fn a_step_that_kills_its_worker_fails_and_its_neighbours_complete() {
    let place = Place::new();
    let workflow = |name: &str, shell: &str| {
        let text = format!(
            "workflow: {name}\nsteps:\n  - id: one\n    action: command.run\n    with: {{ shell: '{shell}' }}\n"
        );
        std::fs::write(place.path(&format!("{name}.yaml")), text).expect("written");
    };
    workflow("calm", "sleep 1");
    workflow("poison", "kill -9 $PPID; sleep 60");
    for (file, key) in [("calm", "a"), ("calm", "b"), ("poison", "p"), ("calm", "c")] {
        place.expect(0, &["submit", &format!("{file}.yaml"), "--key", key]);
    }
    let runs = || -> Vec<Value> {
        ["a", "b", "c", "p"]
            .map(|key| place.json(&["show", key, "--json"]))
            .into()
    };
    let ended = |run: &Value| matches!(run["status"].as_str(), Some("completed" | "failed"));
    let mut worker = place.start(&mut place.command(&["worker"]));
    let mut lives = 1;
    until("every run has ended", || {
        if !is_alive(worker.id()) {
            lives += 1;
            worker = place.start(&mut place.command(&["worker"]));
        }
        runs().iter().all(ended).then_some(())
    });
    worker.kill();
    let runs = runs();
    for calm in &runs[..3] {
        assert_eq!(
            (&calm["status"], &calm["steps"][0]["crashes"]),
            (&"completed".into(), &0.into()),
            "{calm}"
        );
    }
    let error = runs[3]["error"].as_str().unwrap_or_default();
    assert!(
        error.contains("interrupted 6 times, more than the 5 allowed"),
        "{lives} lives: {}",
        runs[3]
    );
}

/// Steps that block every thread of their runtime: the watchdog ends the process, and the next
/// start resumes the runs.
#[test]
fn a_process_whose_step_threads_are_blocked_ends_with_status_4() {
    let place = Place::new();
    let drill = place.path("drill");
    std::fs::create_dir(&drill).expect("made");
    // One thread is blocked by each run: the runtime of the steps has two.
    let block = |name: &str| {
        serde_json::json!({
            "step": "one", "projects": [name], "pid": null, "attempts": 9, "once": name, "act": "block"
        })
    };
    let plan = serde_json::json!([block("a"), block("b")]);
    std::fs::write(drill.join("sabotage.json"), plan.to_string()).expect("written");
    let file = "workflow: blocks\nparameters: { properties: { name: { type: string } } }\n\
                steps:\n  - { id: one, action: command.run, with: { argv: [echo, one] } }\n";
    std::fs::write(place.path("blocks.yaml"), file).expect("written");
    for name in ["a", "b"] {
        let parameter = format!("name={name}");
        let submit = ["submit", "blocks.yaml", "-p", &parameter, "--key", name];
        place.expect(0, &submit);
    }
    let worker = |place: &Place| {
        let mut command = place.command(&["worker"]);
        place.start(command.env("SUREFOOT_DRILL", &drill))
    };
    let began = Instant::now();
    let output = worker(&place).finish();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("the threads for steps are blocked"), "{said}");
    assert!(began.elapsed() >= Duration::from_secs(10), "{said}");
    let next = worker(&place);
    for name in ["a", "b"] {
        until("the run is completed", || {
            is_completed(&place, name).then_some(())
        });
        let shown = place.json(&["show", name, "--json"]);
        let step = &shown["steps"][0];
        assert_eq!(
            (&step["attempt"], &step["interruptions"]),
            (&1.into(), &1.into()),
            "{shown:#}"
        );
    }
    drop(next);
}
