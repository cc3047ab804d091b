//! `surefoot serve` over a million runs: latency and size of each page, and a thousand watchers of
//! one run with 200 requests a second beside running work. The real binary, over real HTTP, on both
//! stores.

mod history;
mod load;
mod pages;
mod server;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use surefoot_scratch_postgres::ScratchPostgres;

use self::server::Server;

#[derive(clap::Args)]
pub(crate) struct Suite {
    /// Finished runs in the store.
    #[arg(long, default_value_t = 1_000_000)]
    history: u64,
    /// Requests of each page.
    #[arg(long, default_value_t = 50)]
    asked: usize,
    /// Watchers of one run.
    #[arg(long, default_value_t = 1000)]
    watchers: usize,
    /// Requests a second beside the watchers.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    /// Seconds of such requests.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Program to measure; by default the one beside this program.
    #[arg(long)]
    surefoot: Option<PathBuf>,
}

pub(crate) fn run(suite: &Suite) -> anyhow::Result<()> {
    let program = match &suite.surefoot {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("surefoot"),
    };
    anyhow::ensure!(
        program.is_file(),
        "there is no {}: build it first (cargo build --release -p surefoot-cli)",
        program.display()
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        println!("### SQLite\n");
        measure(suite, &program, folder.path(), None).await?;
        let folder = tempfile::tempdir()?;
        let cluster = ScratchPostgres::start()?;
        println!("### PostgreSQL\n");
        measure(suite, &program, folder.path(), Some(&cluster)).await
    })
}

async fn measure(
    suite: &Suite,
    program: &Path,
    folder: &Path,
    cluster: Option<&ScratchPostgres>,
) -> anyhow::Result<()> {
    std::fs::create_dir(folder.join("workflows"))?;
    std::fs::write(folder.join("workflows/work.yaml"), load::WORK)?;
    std::fs::write(
        folder.join("workflows/watched.yaml"),
        load::watched(suite.seconds + 20),
    )?;
    let server = Server::start(program, folder, cluster).await?;
    let pattern = load::finished(&server).await?;
    server.stop().await?;
    eprintln!("copying a finished run {} times ...", suite.history);
    match cluster {
        Some(cluster) => history::postgres(cluster, suite.history)?,
        None => history::sqlite(&folder.join("surefoot.db"), suite.history)?,
    }
    let server = Arc::new(Server::start(program, folder, cluster).await?);
    pages::measure(&server, &pattern, suite.asked).await?;
    load::measure(&server, suite).await?;
    Arc::into_inner(server)
        .context("a request to the server is still running")?
        .stop()
        .await
}
