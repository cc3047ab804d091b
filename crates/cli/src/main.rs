//! `surefoot`: initialise projects durably, from the command line. The only crate that names a
//! concrete store.

#![cfg_attr(
    test,
    expect(clippy::disallowed_methods, reason = "tests make and look at files")
)]

mod app;
mod args;
mod audit;
mod capacity;
mod commands;
mod config;
mod credentials;
mod doctor;
mod drill;
mod errors;
mod follow;
mod forge;
mod host;
mod key_file;
mod limits;
mod near;
mod out;
mod parameters;
mod place;
mod plan;
mod progress;
mod questions;
mod queues;
mod refer;
mod serving;
mod shipped;
mod signals;
mod submission;
mod summary;
mod table;
mod view;
mod watchdog;
mod workspaces;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use surefoot_initializer::template::CHILD_ARGUMENT;
use surefoot_initializer::{process, template};
use tokio::runtime::Runtime;

use app::App;
use args::Cli;
use errors::{Exit, Failure};
use place::without_secret_arguments;

fn main() -> ExitCode {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|word| word == CHILD_ARGUMENT)
    {
        return template::child_main();
    }
    template::render_in_child(this_program());
    let cli = Cli::try_parse().unwrap_or_else(|error| refuse(&error));
    diagnostics(cli.global.verbose);
    protect_memory();
    process::raise_descriptor_limit();
    run(&cli)
        .unwrap_or_else(|failure| {
            out::say(&without_secret_arguments(&failure.to_string(), arguments()));
            failure.exit
        })
        .into()
}

/// The program that runs, also after its file was replaced.
fn this_program() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() {
        return link;
    }
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("surefoot"))
}

/// Keeps credentials out of core dumps, and this process's memory and environment from other
/// processes of its user.
fn protect_memory() {
    let _no_core = setrlimit(
        Resource::Core,
        Rlimit {
            current: Some(0),
            maximum: Some(0),
        },
    );
    let _no_dump = set_dumpable_behavior(DumpableBehavior::NotDumpable);
}

/// Masks passwords in a message of clap, which repeats words of the command line.
fn refuse(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    let shown = without_secret_arguments(&text, arguments());
    if shown == text {
        error.exit()
    }
    out::say(shown.trim_end());
    std::process::exit(error.exit_code())
}

/// The words of the command line. Those that are no text are no address either.
fn arguments() -> impl Iterator<Item = String> {
    std::env::args_os()
        .skip(1)
        .filter_map(|word| word.into_string().ok())
}

/// The time that blocking calls have to return when the process ends.
const LAST_CALLS: Duration = Duration::from_secs(2);

fn run(cli: &Cli) -> Result<Exit, Failure> {
    let steps = runtime("surefoot-step")?;
    let runtime = runtime("surefoot")?;
    watchdog::start(&[
        ("heartbeats and requests", runtime.handle()),
        ("steps", steps.handle()),
    ]);
    let app = App::new(&cli.global, steps.handle())?;
    let ended = runtime.block_on(commands::execute(&app, &cli.command));
    // A blocking call may wait for a disk or a network file system that never answers.
    watchdog::end_within(LAST_CALLS * 3);
    steps.shutdown_timeout(LAST_CALLS);
    runtime.shutdown_timeout(LAST_CALLS);
    ended
}

/// Handlers have threads of their own: one that blocks must delay no heartbeat, signal or request.
fn runtime(name: &str) -> Result<Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name(name)
        .enable_all()
        .build();
    runtime.map_err(|error| Failure::usage(format!("cannot start: {error}")))
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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
}
