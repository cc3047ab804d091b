//! What PostgreSQL itself does on this machine, by its own `pgbench`.

use std::process::Command;

use anyhow::Context as _;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::report::Figures;

/// A script; `:n` is another number in each of its rounds.
pub(super) struct Script {
    clients: u32,
    /// What one round of it counts for.
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

/// One row a commit, by 32 clients.
pub(super) const COMMITS: Script = Script {
    clients: 32,
    weight: 1.0,
    text: "INSERT INTO raw.one (id, body) VALUES (:client_id, 'step.completed');",
};

/// One row a commit, by one client: how long a commit takes.
pub(super) const ONE_COMMIT: Script = Script {
    clients: 1,
    ..COMMITS
};

/// The rows of one submission that starts at once - a run, its steps, the first events - in one statement and one commit, by
/// one client: the same tables, indexes and checks, with ids that sort by when they were made, as Surefoot's do.
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

/// A hundred rows a commit, by one client.
pub(super) const ROWS: Script = Script {
    clients: 1,
    weight: 100.0,
    text: "INSERT INTO raw.one (id, body) SELECT n, 'step.completed' FROM generate_series(1, 100) AS n;",
};

/// The row writes of a hundred seven-step runs, in eight commits as Surefoot has them: each adds or changes the rows of all
/// hundred. The same tables, indexes and checks.
pub(super) const RUNS: Script = Script {
    clients: 1,
    weight: 100.0,
    text: include_str!("runs.sql"),
};

/// Rounds of a script in a second, by weight, over so many seconds.
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

/// How many of a script's commits fit into a second when single-row commits come between, `others` each time, and only the
/// script's own are timed: a run's first commit comes after the last of the run before, and a server that does the same again
/// and again does it faster.
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
    // Of each line of the script its latency in milliseconds: first of `\set`, then of the first statement.
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
    let (clients, seconds) = (clients.to_string(), seconds.to_string());
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
