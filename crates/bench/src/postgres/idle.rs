//! Transactions of an idle worker, as counted by the database.

use std::time::Duration;

use anyhow::Context as _;
use surefoot_scratch_postgres::ScratchPostgres;

use super::processes;
use crate::report::Figures;

/// Long enough that rounding to whole transactions does not matter: polls, sweeps and heartbeats
/// have intervals of about a second.
const SECONDS: u64 = 20;

/// Autovacuum is off meanwhile, since the database counts its transactions together with the
/// worker's.
pub(super) fn measure(cluster: &ScratchPostgres) -> anyhow::Result<Figures> {
    autovacuum(cluster, "SET autovacuum = off")?;
    let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'";
    cluster.psql("template1", others)?;
    let counted = count(cluster);
    autovacuum(cluster, "RESET autovacuum")?;
    counted
}

fn autovacuum(cluster: &ScratchPostgres, change: &str) -> anyhow::Result<()> {
    cluster.psql("template1", &format!("ALTER SYSTEM {change}"))?;
    cluster.psql("template1", "SELECT pg_reload_conf()")?;
    Ok(())
}

fn count(cluster: &ScratchPostgres) -> anyhow::Result<Figures> {
    let worker = processes::idle_worker(&cluster.url(), false)?;
    // Startup queries are left out, and the database counts a session's transactions up to a second
    // late.
    std::thread::sleep(Duration::from_secs(3));
    let before = transactions(cluster)?;
    std::thread::sleep(Duration::from_secs(SECONDS));
    let asked = transactions(cluster)? - before;
    let memory_mib = processes::stop(worker)?.memory_mib;
    Ok(Figures {
        per_second: asked / SECONDS as f64,
        memory_mib,
        ..Figures::default()
    })
}

/// Reads the count through a connection to another database than the counted one.
fn transactions(cluster: &ScratchPostgres) -> anyhow::Result<f64> {
    let counted =
        "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'postgres'";
    cluster
        .psql("template1", counted)?
        .parse()
        .context("a count of transactions")
}
