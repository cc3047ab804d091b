//! A thousand watchers of one run, and requests at an even rate, while other runs are submitted and
//! executed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use surefoot::{Clock as _, SystemClock};
use tokio::task::JoinSet;

use super::Suite;
use super::server::Server;
use crate::report::percentile;

/// Seven steps, each a process.
pub(super) const WORK: &str = r#"
workflow: work
steps:
  - { id: one, action: command.run, with: { shell: "echo one" } }
  - { id: two, action: command.run, with: { shell: "echo two" } }
  - { id: three, action: command.run, with: { shell: "echo three" } }
  - { id: four, action: command.run, with: { shell: "echo four" } }
  - { id: five, action: command.run, with: { shell: "echo five" } }
  - { id: six, action: command.run, with: { shell: "echo six" } }
  - { id: seven, action: command.run, with: { shell: "echo seven" } }
"#;

/// A workflow that prints the time ten times a second, for some seconds.
pub(super) fn watched(seconds: u32) -> String {
    let lines = seconds * 10;
    format!(
        "workflow: watched\nsteps:\n  - id: talk\n    action: command.run\n    with: {{ shell: \"for n in $(seq {lines}); do \
         echo \\\"at $(date +%s.%N)\\\"; sleep 0.1; done\" }}\n"
    )
}

/// Runs of [`WORK`] submitted in a second.
const WORKED_ON: u32 = 3;

const PATHS: [&str; 5] = ["/", "/runs", "/api/v1/runs", "/api/v1/queues", "/metrics"];

/// Submits a run, waits for its end and returns its id.
pub(super) async fn finished(server: &Server) -> anyhow::Result<String> {
    let run = server.submit("work").await?;
    while server.json(&format!("/api/v1/runs/{run}")).await?["status"] != "completed" {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(run)
}

pub(super) async fn measure(server: &Arc<Server>, suite: &Suite) -> anyhow::Result<()> {
    let run = server.submit("watched").await?;
    let watching = Arc::new(tokio::sync::Barrier::new(suite.watchers + 1));
    let mut watchers = JoinSet::new();
    for _ in 0..suite.watchers {
        watchers.spawn(watch(server.clone(), run.clone(), watching.clone()));
    }
    watching.wait().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut working = JoinSet::new();
    working.spawn(work(server.clone(), done.clone()));
    let began = Instant::now();
    let took = ask(server, suite).await?;
    let lasted = began.elapsed().as_secs_f64();
    done.store(true, Ordering::SeqCst);
    let worked_on = working
        .join_next()
        .await
        .transpose()?
        .transpose()?
        .unwrap_or_default();
    let mut late = Vec::new();
    let mut events = Vec::new();
    while let Some(watched) = watchers.join_next().await {
        let watched = watched??;
        events.push(watched.events);
        late.extend(watched.late_ms);
    }
    late.sort_by(f64::total_cmp);
    events.sort_unstable();
    let ends = (
        events.first().copied().unwrap_or_default(),
        events.last().copied().unwrap_or_default(),
    );
    anyhow::ensure!(
        ends.0 == ends.1,
        "watchers received {} to {} events",
        ends.0,
        ends.1
    );
    println!(
        "{} watchers of one run, {:.0} requests/s and {:.1} seven-step runs/s beside them: requests p50 {:.1} ms, p99 {:.1} ms, \
         slowest {:.0} ms; a line arrives p50 {:.0} ms, p99 {:.0} ms after it was printed; each watcher received all {} events; {:.0} MiB at most\n",
        suite.watchers,
        took.len() as f64 / lasted,
        worked_on as f64 / lasted,
        percentile(&took, 0.5),
        percentile(&took, 0.99),
        took.last().copied().unwrap_or_default(),
        percentile(&late, 0.5),
        percentile(&late, 0.99),
        ends.0,
        server.memory_mib()?,
    );
    Ok(())
}

/// Messages received by one watcher.
struct Watched {
    events: usize,
    /// Delay of each line in milliseconds, by the clock that both processes share.
    late_ms: Vec<f64>,
}

/// Watches until the end of the run. Delays count only for lines printed once all watchers were
/// connected.
async fn watch(
    server: Arc<Server>,
    run: String,
    watching: Arc<tokio::sync::Barrier>,
) -> anyhow::Result<Watched> {
    let mut stream = server.watch(&run).await?;
    let mut watched = Watched {
        events: 0,
        late_ms: Vec::new(),
    };
    let mut text = String::new();
    let mut all_there = Some(watching);
    let mut since_ms = 0.0;
    while let Some(chunk) = stream.chunk().await? {
        if let Some(watching) = all_there.take() {
            watching.wait().await;
            since_ms = now_ms();
        }
        text.push_str(std::str::from_utf8(&chunk)?);
        while let Some((message, rest)) = text.split_once("\n\n") {
            if message.contains("event: change") {
                watched.events += 1;
            }
            watched.late_ms.extend(
                printed_at_ms(message)
                    .filter(|at| *at > since_ms)
                    .map(|at| now_ms() - at),
            );
            text = rest.to_owned();
        }
    }
    Ok(watched)
}

fn now_ms() -> f64 {
    SystemClock.now().as_micros() as f64 / 1000.0
}

/// Time at which the line in a message was printed, if it has one.
fn printed_at_ms(message: &str) -> Option<f64> {
    let said = message.split_once("at 1").map(|(_, rest)| rest)?;
    let digits = said.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
    let at: f64 = format!("1{}", &said[..digits]).parse().ok()?;
    Some(at * 1000.0)
}

/// Requests pages and API at an even rate; returns the latencies in milliseconds, sorted.
async fn ask(server: &Arc<Server>, suite: &Suite) -> anyhow::Result<Vec<f64>> {
    let mut asked = JoinSet::new();
    let mut even = tokio::time::interval(Duration::from_secs(1) / suite.rate);
    for path in PATHS
        .iter()
        .cycle()
        .take((suite.rate * suite.seconds) as usize)
    {
        even.tick().await;
        let server = server.clone();
        asked.spawn(async move { server.get(path).await });
    }
    let mut took = Vec::with_capacity(asked.len());
    while let Some(answer) = asked.join_next().await {
        took.push(answer??.0.as_secs_f64() * 1000.0);
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}

/// Submits runs at an even rate; returns their number.
async fn work(server: Arc<Server>, done: Arc<AtomicBool>) -> anyhow::Result<u32> {
    let mut even = tokio::time::interval(Duration::from_secs(1) / WORKED_ON);
    let mut submitted = 0;
    while !done.load(Ordering::SeqCst) {
        even.tick().await;
        server.submit("work").await?;
        submitted += 1;
    }
    Ok(submitted)
}
