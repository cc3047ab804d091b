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

/// One row a commit, by 32 clients.
pub(super) const COMMITS: Script =
    Script { clients: 32, weight: 1.0, text: "INSERT INTO raw.one (id, body) VALUES (:client_id, 'step.completed');" };

/// One row a commit, by one client: how long a commit takes.
pub(super) const ONE_COMMIT: Script = Script { clients: 1, ..COMMITS };

/// A hundred rows a commit, by one client.
pub(super) const ROWS: Script = Script {
    clients: 1,
    weight: 100.0,
    text: "INSERT INTO raw.one (id, body) SELECT n, 'step.completed' FROM generate_series(1, 100) AS n;",
};

/// The row writes of a hundred seven-step runs, in eight commits as Surefoot has them: each adds or changes the rows of all
/// hundred. The same tables, indexes and checks.
pub(super) const RUNS: Script = Script { clients: 1, weight: 100.0, text: include_str!("runs.sql") };

/// Rounds of a script in a second, by weight, over so many seconds.
pub(super) fn run(cluster: &ScratchPostgres, script: &Script, seconds: u64) -> anyhow::Result<Figures> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("script.sql");
    std::fs::write(&file, format!("\\set n random(1, 1000000000)\n{}\n", script.text))?;
    let (clients, seconds) = (script.clients.to_string(), seconds.to_string());
    let mut command = Command::new(cluster.program("pgbench").get_program());
    let output = command
        .args(["-n", "-M", "prepared", "-j", "2", "-c", &clients, "-T", &seconds, "-f"])
        .arg(&file)
        .arg(cluster.url())
        .output()?;
    anyhow::ensure!(output.status.success(), "pgbench: {}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = ")?.split_whitespace().next()?.parse::<f64>().ok());
    let tps = tps.context("pgbench says no tps")?;
    Ok(Figures { per_second: tps * script.weight, ..Figures::default() })
}
