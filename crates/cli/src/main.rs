//! `surefoot`: initialise projects durably, from the command line. The only crate that names a concrete store.

mod app;
mod args;
mod commands;
mod config;
mod credentials;
mod doctor;
mod drill;
mod errors;
mod follow;
mod host;
mod limits;
mod near;
mod out;
mod parameters;
mod place;
mod plan;
mod progress;
mod queues;
mod refer;
mod serving;
mod shipped;
mod signals;
mod submission;
mod summary;
mod table;
mod view;
mod workspaces;

use std::process::ExitCode;

use clap::Parser as _;

use app::App;
use args::Cli;
use errors::{Exit, Failure};

fn main() -> ExitCode {
    let cli = Cli::parse();
    diagnostics(cli.global.verbose);
    run(&cli)
        .unwrap_or_else(|failure| {
            out::say(&failure.to_string());
            failure.exit
        })
        .into()
}

fn run(cli: &Cli) -> Result<Exit, Failure> {
    let app = App::new(&cli.global)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::usage(format!("cannot start: {error}")))?;
    runtime.block_on(commands::execute(&app, &cli.command))
}

/// Diagnostics are off unless asked for; what people need to know is printed, not logged.
fn diagnostics(verbose: u8) {
    use tracing_subscriber::EnvFilter;
    let level = match verbose {
        0 => "off",
        1 => "surefoot=info,warn",
        _ => "surefoot=debug,info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
