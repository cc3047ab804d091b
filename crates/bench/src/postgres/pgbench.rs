//! Throughput of plain PostgreSQL on this machine, measured by `pgbench`.

use std::process::Command;

use anyhow::Context as _;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::report::Figures;

/// A script; `:n` is a different number in each iteration.
pub(super) struct Script {
    clients: u32,
    /// Weight of one iteration in the rate.
    weight: f64,
    text: &'static str,
}

macro_rules! submission {
    ($steps:literal) => {
        concat!(
            "WITH run AS (
               INSERT INTO raw.runs (id, plan, workflow, queue, parameters, priority, created_at, status, progress,
                                     started_at, worker, epoch, event_seq)
               SELECT (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000000)::bigint), 16, '0')
                       || lpad(to_hex(:n::int), 16, '0'))::uuid, 1, 'raw', 'raw', '{\"at\":1234567890123456}', 0, 1,
                      'running', 0, 1, '00000000-0000-0000-0000-000000000001', 1, 3
               RETURNING id),
             steps AS (
               INSERT INTO raw.steps (run, position, id, status, attempt, started_at)
               SELECT id, s, 'step_' || s, CASE s WHEN 0 THEN 'running' ELSE 'pending' END,
                      CASE s WHEN 0 THEN 1 ELSE 0 END, CASE s WHEN 0 THEN 1 END
               FROM run, generate_series(0, ",
            $steps,
            " - 1) AS s)
             INSERT INTO raw.events (run, seq, at, body)
             SELECT id, 3, 1, '[[\"run.submitted\",null,null],[\"run.started\",null,{\"epoch\":1}],[\"step.started\",\"step_0\",{\"attempt\":1}]]'
             FROM run;"
        )
    };
}

/// Single-row commits, with 32 clients.
pub(super) const COMMITS: Script = Script {
    clients: 32,
    weight: 1.0,
    text: "INSERT INTO raw.one (id, body) VALUES (:client_id, 'step.completed');",
};

/// Single-row commits, with one client: the latency of a commit.
pub(super) const ONE_COMMIT: Script = Script {
    clients: 1,
    ..COMMITS
};

/// The rows of one submission that starts at once (a run, its steps, the first events) in one
/// statement and one commit, by one client. Tables, indexes and checks are Surefoot's, and the ids
/// sort by creation time as Surefoot's do.
pub(super) const ONE_SUBMISSION: [Script; 2] = [
    Script {
        clients: 1,
        weight: 1.0,
        text: submission!(1),
    },
    Script {
        clients: 1,
        weight: 1.0,
        text: submission!(7),
    },
];

/// A hundred rows a commit, with one client.
pub(super) const ROWS: Script = Script {
    clients: 1,
    weight: 100.0,
    text: "INSERT INTO raw.one (id, body) SELECT n, 'step.completed' FROM generate_series(1, 100) AS n;",
};

/// The row writes of a hundred seven-step runs in eight commits, as Surefoot makes them: each
/// commit adds or changes the rows of all hundred. Tables, indexes and checks are Surefoot's.
pub(super) const RUNS: Script = Script {
    clients: 1,
    weight: 100.0,
    text: include_str!("runs.sql"),
};

/// Weighted iterations of a script in a second.
pub(super) fn run(
    cluster: &ScratchPostgres,
    script: &Script,
    seconds: u64,
) -> anyhow::Result<Figures> {
    let text = output(cluster, script.clients, script.text, seconds, &[])?;
    let tps = text.lines().find_map(|line| {
        line.strip_prefix("tps = ")?
            .split_whitespace()
            .next()?
            .parse::<f64>()
            .ok()
    });
    let tps = tps.context("pgbench says no tps")?;
    Ok(Figures {
        per_second: tps * script.weight,
        ..Figures::default()
    })
}

/// Commits of a script in a second, timed alone, with `others` single-row commits between two of
/// them. A run's first commit follows the last commit of the previous run, and a server that
/// repeats one statement does it faster.
pub(super) fn among_others(
    cluster: &ScratchPostgres,
    script: &Script,
    others: usize,
    seconds: u64,
) -> anyhow::Result<Figures> {
    let text = format!(
        "{}\n{}",
        script.text,
        format!("{}\n", COMMITS.text).repeat(others)
    );
    let text = output(cluster, script.clients, &text, seconds, &["-r"])?;
    // Each line of the script is listed with its latency in milliseconds: first `\set`, then the
    // first statement.
    let mut latencies = text
        .lines()
        .skip_while(|line| !line.contains("latencies in milliseconds"))
        .skip(2);
    let latency = latencies
        .next()
        .and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    let latency = latency.context("pgbench says no latencies")?;
    Ok(Figures {
        per_second: 1000.0 / latency,
        ..Figures::default()
    })
}

fn output(
    cluster: &ScratchPostgres,
    clients: u32,
    text: &str,
    seconds: u64,
    more: &[&str],
) -> anyhow::Result<String> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, format!("\\set n random(1, 1000000000)\n{text}\n"))?;
    let clients = clients.to_string();
    let seconds = seconds.to_string();
    let mut command = Command::new(cluster.program("pgbench").get_program());
    let output = command
        .args(more)
        .args([
            "-n", "-M", "prepared", "-j", "2", "-c", &clients, "-T", &seconds, "-f",
        ])
        .arg(&file)
        .arg(cluster.url())
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "pgbench: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
