//! Several worker processes on one database: the limits of a queue hold over all of them, one takes
//! over from another, and runs with unknown actions are left to workers that have them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use surefoot::{Client, Handlers, Store, Submit, Worker, WorkerOptions, Workflow, handler_fn};
use surefoot_postgres::PostgresStore;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::common::{PATIENCE, lines, text, until};
use crate::ledger::Ledger;
use crate::takeover;

const CONCURRENCY: usize = 5;
const PER_KEY: usize = 2;
const RATE: usize = 4;
const PER: Duration = Duration::from_millis(500);

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new()
        .expect("a runtime")
        .block_on(future)
}

/// Runs of one step, which logs when it starts and when it ends.
fn limited(ledger: &Ledger) -> Arc<Workflow> {
    let say = |word: &str| {
        format!(
            "echo \"{word} $(date +%s%N) $SUREFOOT_RUN ${{{{ parameters.key }}}}\" >> {}",
            ledger.file().display()
        )
    };
    let shell = format!("{}; sleep 0.35; {}", say("begin"), say("end"));
    let step = |step: surefoot::workflow::StepBuilder| step.with(json!({ "shell": shell }));
    Arc::new(
        Workflow::builder("limited")
            .step_with("one", "command.run", step)
            .build()
            .expect("a workflow"),
    )
}

/// Maximum of concurrent runs, of all keys and of one key, by the ledger.
fn most_at_once(ledger: &Ledger) -> (usize, usize) {
    let mut moments: Vec<(u128, i32, String)> = lines(&ledger.file())
        .iter()
        .map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (
                words[1].parse().expect("a time"),
                if words[0] == "begin" { 1 } else { -1 },
                words[3].to_owned(),
            )
        })
        .collect();
    moments.sort();
    let mut now = 0;
    let mut keys = BTreeMap::new();
    let mut most = 0;
    let mut most_of_key = 0;
    for (_, change, key) in moments {
        now += change;
        let of_key = keys.entry(key).or_insert(0);
        *of_key += change;
        most = most.max(now);
        most_of_key = most_of_key.max(*of_key);
    }
    (
        most.unsigned_abs() as usize,
        most_of_key.unsigned_abs() as usize,
    )
}

/// Maximum of first starts in any window of that length, by the database.
fn worst_window(starts: &[i64], per: Duration) -> usize {
    let per = per.as_micros() as i64;
    let in_window = |first: &i64| {
        starts
            .iter()
            .filter(|start| (*first..first + per).contains(*start))
            .count()
    };
    starts.iter().map(in_window).max().unwrap_or(0)
}

/// Submits thirty runs of three keys, and waits until they have ended.
async fn thirty(ledger: &Ledger) -> usize {
    let store: Arc<dyn Store> = Arc::new(
        PostgresStore::options(&ledger.store)
            .open()
            .await
            .expect("a store"),
    );
    let client = Client::new(store);
    let workflow = limited(ledger);
    let mut runs = Vec::new();
    for number in 0..30 {
        let key = format!("tenant-{}", number % 3);
        let submit = Submit::new(workflow.clone())
            .parameters(json!({ "key": key }))
            .concurrency_key(&key);
        runs.push(client.submit(submit).await.expect("submitted").run.id);
    }
    for run in &runs {
        client.wait(*run).await.expect("it ends");
    }
    runs.len()
}

/// Number of workers that have started runs.
fn took_part(database: &str) -> usize {
    let started = "SELECT count(DISTINCT body::json -> 0 -> 2 ->> 'worker') FROM surefoot.events WHERE body LIKE '%run.started%'";
    ScratchPostgres::shared()
        .psql(database, started)
        .expect("an answer")
        .parse()
        .expect("a number")
}

/// Runs so many workers on one queue with a concurrency, a rate and a limit per key.
fn limits_hold_over(workers: usize) {
    let cluster = ScratchPostgres::shared();
    let database = cluster.fresh_database().expect("a database");
    let name = database.rsplit('/').next().expect("a name");
    let ledger = Ledger::new(&database, "");
    let set = [
        "queue",
        "set",
        "limited",
        "--concurrency",
        "5",
        "--concurrency-per-key",
        "2",
        "--rate",
        "4/500ms",
    ];
    assert!(ledger.run(&["migrate"]).status.success());
    let output = ledger.run(&set);
    assert!(output.status.success(), "{}", text(&output));
    let _workers: Vec<_> = (0..workers)
        .map(|host| ledger.start_on(&format!("host-{host}"), &["worker"]))
        .collect();
    until("all workers are there", || {
        let there = cluster
            .psql(name, "SELECT count(*) FROM surefoot.workers")
            .ok()?;
        (there == workers.to_string()).then_some(())
    });
    // A worker without a run so far gets more chances.
    let mut runs = 0;
    let all_worked = (0..4).any(|_| {
        runs += block_on(thirty(&ledger));
        took_part(name) == workers
    });
    assert!(
        all_worked,
        "{} of {workers} worked on {runs} runs",
        took_part(name)
    );
    assert_eq!(
        (ledger.lines("begin").len(), ledger.lines("end").len()),
        (runs, runs),
        "each effect once"
    );
    let (most, of_key) = most_at_once(&ledger);
    assert!(
        most <= CONCURRENCY && of_key <= PER_KEY,
        "{most} at once, {of_key} of one key"
    );
    assert!(most >= 3, "they do run beside each other: {most}");
    let starts = cluster
        .psql(name, "SELECT started_at FROM surefoot.runs ORDER BY 1")
        .expect("an answer");
    let starts: Vec<i64> = starts
        .lines()
        .map(|line| line.parse().expect("a time"))
        .collect();
    let worst = worst_window(&starts, PER);
    assert!(worst <= RATE, "{worst} starts in one window");
    eprintln!(
        "{workers} workers: {most} at once, {of_key} of one key, {worst} starts in the worst window of {PER:?}"
    );
}

#[test]
fn limits_hold_over_two_workers() {
    limits_hold_over(2);
}

#[test]
fn limits_hold_over_three_workers() {
    limits_hold_over(3);
}

/// `kill -9` of one worker while one of another host lives: the latter takes over the runs when the
/// lease has expired.
#[test]
fn another_worker_takes_over_within_six_seconds() {
    let cluster = ScratchPostgres::shared();
    takeover::in_time(cluster, |database| cluster.url_of(database), |kill| kill());
}

/// A rolling deploy: a worker of an older version leaves alone runs with actions that it does not
/// have, which is visible, until a worker has them.
#[test]
fn runs_with_unknown_actions_are_left_to_a_worker_that_has_them() {
    let database = ScratchPostgres::shared()
        .fresh_database()
        .expect("a database");
    let ledger = Ledger::new(&database, "");
    let file = ledger.seven("0");
    let folder = ledger.place.path("workspaces");
    let _old = ledger.start(&["worker"]);
    block_on(async {
        let store: Arc<dyn Store> = Arc::new(
            PostgresStore::options(&database)
                .open()
                .await
                .expect("a store"),
        );
        let client = Client::new(store.clone());
        let plan = Workflow::builder("later")
            .step("one", "action.of-tomorrow")
            .build()
            .expect("a workflow");
        let unknown = client
            .submit(Submit::new(Arc::new(plan)))
            .await
            .expect("submitted")
            .run;
        let run = ledger.submit(&file, "known");
        ledger.check(&ledger.until_completed(&run), "what is known goes on");
        // The missing action is derived from the live workers, which are known again a moment after
        // a missed heartbeat.
        let said = async {
            loop {
                let waiting = client
                    .waiting(&client.run(unknown.id).await.expect("a run"))
                    .await
                    .expect("an answer");
                let waiting = waiting.expect("it waits").to_string();
                let shown = text(&ledger.run(&["show", &unknown.id.to_string()]));
                if waiting.contains("action.of-tomorrow") && shown.contains("action.of-tomorrow") {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, said)
            .await
            .expect("the missing action is shown");

        let handler = handler_fn(async |_: surefoot::StepContext, _: serde_json::Value| Ok("done"));
        let options = WorkerOptions {
            version: "tomorrow".to_owned(),
            workspaces: folder,
            ..WorkerOptions::default()
        };
        let new = Worker::start(
            store.clone(),
            Handlers::new().with("action.of-tomorrow", handler),
            options,
        )
        .await;
        let new = new.expect("a worker");
        let ended = client.wait(unknown.id).await.expect("it ends");
        assert_eq!(ended.head.status, surefoot::RunStatus::Completed);
        let versions: std::collections::BTreeSet<String> = store
            .workers()
            .await
            .expect("workers")
            .into_iter()
            .map(|worker| worker.version)
            .collect();
        assert_eq!(versions.len(), 2, "{versions:?}");
        new.stop().await;
    });
}
