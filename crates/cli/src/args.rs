//! The arguments of the command line. The commands are in `commands/`; the meaning of a value is
//! checked where it is used, except where clap gives the better error.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use surefoot::state::RuleError;
use surefoot::{AllowList, AllowListError, RunStatus, Secret, check_key, parse_duration};
use surefoot_server::auth::Role;

use crate::drill::{Fault, Loop};
use crate::place::Address;

/// Initialise projects durably: every step is committed, so a run that is killed resumes at the
/// step it had reached.
#[derive(Debug, Parser)]
#[command(name = "surefoot", version, max_term_width = 100, arg_required_else_help = true, after_help = EXITS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXITS: &str = "\
Exit status: 0 done; 1 the run failed or was cancelled, or a check of doctor, drill or soak failed;
2 wrong use; 3 the store cannot be reached or is in use; 4 the process was blocked and ended itself;
129, 130, 143 stopped by SIGHUP, SIGINT or SIGTERM before the end: the same command resumes the run.";

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// Store of the runs: `sqlite:PATH`, or `postgres://USER@HOST/DATABASE` for many workers
    /// [default: surefoot.db in the data directory]
    #[arg(
        long,
        global = true,
        env = "SUREFOOT_STORE",
        value_name = "STORE",
        hide_env_values = true
    )]
    pub(crate) store: Option<Address>,
    /// Directory of repositories, workspaces, keys and the default store [default: ./surefoot-data]
    #[arg(
        long,
        global = true,
        env = "SUREFOOT_DATA_DIR",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) data_dir: Option<PathBuf>,
    /// The configuration file [default: surefoot.toml in the data directory, if there is one]
    #[arg(
        long,
        global = true,
        env = "SUREFOOT_CONFIG",
        value_name = "FILE",
        hide_env_values = true
    )]
    pub(crate) config: Option<PathBuf>,
    /// Print data as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Print more diagnostics to standard error; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Initialise a project, with live progress
    Init(Init),
    /// Run any workflow file to its end
    Run(Run),
    /// Submit a run to the store and print its id
    Submit(Submit),
    /// List runs, the newest first
    Runs(Runs),
    /// Show a run and its steps
    Show(RunArg),
    /// Follow a run to its end
    Watch(RunArg),
    /// Print what a run's steps logged
    Logs(Logs),
    /// Run a failed run again, from the step that failed or an earlier one
    Retry(Retry),
    /// Cancel a run
    Cancel(Cancel),
    /// Answer a step that waits for a person
    Answer(Answer),
    /// List the queues with their limits
    Queues,
    /// Pause, resume or limit a queue
    #[command(subcommand)]
    Queue(Queue),
    /// List the records of completed steps: projects, repositories, environments
    Records(Records),
    /// Run worker, API and dashboard in one process
    Serve(Serve),
    /// Run a worker, which executes the runs of the store until it is stopped
    Worker(Worker),
    /// Create, list and revoke the tokens with which people and programs sign in
    #[command(subcommand)]
    Token(Tokens),
    /// List alerts, acknowledge one, or send a test message to the notifiers
    Alerts {
        #[command(subcommand)]
        command: Option<Alerts>,
    },
    /// Show the local forge of the store's projects, and whether this host has it
    Forge {
        #[command(subcommand)]
        command: Option<ForgeCommand>,
    },
    /// Create or upgrade the store's schema, and do nothing else
    Migrate,
    /// Check what this deployment guarantees; exits 1 if a promise does not hold here
    Doctor(Doctor),
    /// Prove the recovery on this machine: kill, freeze and starve real workers on a scratch store,
    /// and count the effects
    Drill(Drill),
    /// Prove the recovery over minutes: kill, freeze and restart workers at random while runs are
    /// submitted
    Soak(Soak),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The project's name, which is also the run's key: the same name again resumes the same run
    pub(crate) name: String,
    /// The template: a built-in one, a directory, or a Git URL; -p template_ref=REF names its
    /// branch, tag or commit
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) template: Option<String>,
    /// Purpose of the project
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// A value for the template; may be repeated
    #[arg(long = "values", value_name = "KEY=VALUE")]
    pub(crate) values: Vec<String>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// Show the input that every step would get, and execute nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Parameters {
    /// A parameter of the workflow; may be repeated
    #[arg(short = 'p', long = "parameter", value_name = "KEY=VALUE")]
    pub(crate) parameters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The workflow file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// The run's key: the same key again resumes the same run
    #[arg(long, value_parser = key)]
    pub(crate) key: Option<String>,
    /// Show the input that every step would get, and execute nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Submit {
    /// The name of a shipped workflow, or a workflow file
    pub(crate) workflow: String,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// The run's key: the same key again is the same run
    #[arg(long, value_parser = key)]
    pub(crate) key: Option<String>,
    /// Runs with a higher priority start first
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        default_value_t = 0
    )]
    pub(crate) priority: i32,
    /// Runs with the same concurrency key count against the queue's limit per key
    #[arg(long, value_name = "KEY", value_parser = concurrency_key)]
    pub(crate) concurrency_key: Option<String>,
    /// Time before which the run does not start, such as 2026-05-04T09:30:00Z, or +10m
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Follow the run to its end, and execute it here if no other worker does
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Runs {
    /// Only runs of this status
    #[arg(long)]
    pub(crate) status: Option<RunStatus>,
    /// Only runs of this workflow
    #[arg(long)]
    pub(crate) workflow: Option<String>,
    /// Only runs in this queue
    #[arg(long)]
    pub(crate) queue: Option<String>,
    /// Maximum number of runs
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RunArg {
    /// A run: its id, the first 8 or more characters of it, or its key
    pub(crate) run: String,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// Only the log of this step
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Follow the log until the run has ended
    #[arg(short, long)]
    pub(crate) follow: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// Run this step and all after it again
    #[arg(long, value_name = "STEP")]
    pub(crate) from: Option<String>,
    /// Follow the run to its end, and execute it here if no other worker does
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// Also undo what the run created, and only that
    #[arg(long)]
    pub(crate) undo: bool,
    /// Follow the run to its end, and execute it here if no other worker does
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Answer {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// The step that waits
    pub(crate) step: String,
    /// rerun, skip or fail for an interrupted step; approve or reject for one that asks
    pub(crate) answer: surefoot::state::Answer,
    /// Reason, which is kept in the run's history
    #[arg(long)]
    pub(crate) note: Option<String>,
    /// Follow the run to its end, and execute it here if no other worker does
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Pause a queue: no further run starts, running ones continue
    Pause(QueueName),
    /// Resume a paused queue
    Resume(QueueName),
    /// Change limits of a queue; all others stay as they are
    Set(QueueSet),
}

#[derive(Debug, Args)]
pub(crate) struct QueueName {
    /// The queue
    pub(crate) name: String,
}

#[derive(Debug, Args)]
pub(crate) struct QueueSet {
    /// The queue
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// Limits as people write them. Also the fields of `[queues.NAME]` in the configuration file.
#[derive(Clone, Debug, Default, Args, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Runs at once, over all workers: a number, or none
    #[arg(long, value_name = "N|none")]
    pub(crate) concurrency: Option<Word>,
    /// Runs at once with the same concurrency key: a number, or none
    #[arg(long, value_name = "N|none")]
    pub(crate) concurrency_per_key: Option<Word>,
    /// Runs that may start in any window of time, such as 5/1s, or none
    #[arg(long, value_name = "N/TIME|none")]
    pub(crate) rate: Option<Word>,
    /// Retention of details of completed runs: an age such as 30d, a number of runs, both as
    /// 30d,1000, or none
    #[arg(long, value_name = "AGE|N|none")]
    pub(crate) keep_completed: Option<Word>,
    /// The same for failed runs
    #[arg(long, value_name = "AGE|N|none")]
    pub(crate) keep_failed: Option<Word>,
    /// The same for cancelled runs
    #[arg(long, value_name = "AGE|N|none")]
    pub(crate) keep_cancelled: Option<Word>,
    /// Workflows that may be submitted: names separated by commas, with `*` for any characters;
    /// `none` removes the list
    #[arg(long, value_name = "LIST|none", value_parser = Permit::parse)]
    pub(crate) workflows: Option<Permit>,
    /// Actions that their steps may use: names separated by commas, with `*` for any characters;
    /// `none` removes the list
    #[arg(long, value_name = "LIST|none", value_parser = Permit::parse)]
    pub(crate) actions: Option<Permit>,
}

/// An allow-list of a queue; the word `none` takes the list away. A configuration file may also
/// write an array of entries.
#[derive(Clone, Debug)]
pub(crate) struct Permit(pub(crate) AllowList);

impl Permit {
    fn parse(text: &str) -> Result<Self, AllowListError> {
        match text {
            "none" => Ok(Self(AllowList::everything())),
            text => AllowList::parse(text).map(Self),
        }
    }
}

impl<'de> serde::Deserialize<'de> for Permit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged, expecting = "an array of strings or a string was expected")]
        enum Either {
            Entries(Vec<String>),
            Text(String),
        }
        let list = match Either::deserialize(deserializer)? {
            Either::Entries(entries) => AllowList::new(entries).map(Self),
            Either::Text(text) => Self::parse(&text),
        };
        list.map_err(serde::de::Error::custom)
    }
}

/// A word that a configuration file may also write as a bare number.
#[derive(Clone, Debug)]
pub(crate) struct Word(pub(crate) String);

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl<'de> serde::Deserialize<'de> for Word {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(serde::Deserialize)]
        #[serde(untagged, expecting = "a number or a string was expected")]
        enum Either {
            Number(u64),
            Text(String),
        }
        Ok(Self(match Either::deserialize(deserializer)? {
            Either::Number(number) => number.to_string(),
            Either::Text(text) => text,
        }))
    }
}

#[derive(Debug, Args)]
pub(crate) struct Records {
    /// Only records of this kind: project, repository, environment
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only records with this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only records of this run
    #[arg(long)]
    pub(crate) run: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// URL of the Redis of a BullMQ installation, which is checked instead
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<Address>,
    /// Password of that Redis, if the URL has none; set the variable, because other users of this
    /// host can see arguments
    #[arg(long, env = "REDISCLI_AUTH", value_name = "PASSWORD", value_parser = secret, hide_env_values = true)]
    pub(crate) redis_password: Option<Secret>,
    /// The prefix of BullMQ's keys
    #[arg(long, requires = "redis", default_value = "bull")]
    pub(crate) prefix: String,
    /// Only this queue of BullMQ; may be repeated [default: all]
    #[arg(long, requires = "redis", value_name = "NAME")]
    pub(crate) queue: Vec<String>,
}

/// Checks a key before the store is opened: a variable that is not set makes an empty one.
fn key(text: &str) -> Result<String, RuleError> {
    check_key("key", text).map(|()| text.to_owned())
}

fn concurrency_key(text: &str) -> Result<String, RuleError> {
    check_key("concurrency key", text).map(|()| text.to_owned())
}

fn secret(word: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(word))
}

#[derive(Debug, Args)]
pub(crate) struct Worker {
    /// Number of runs at once [default: 256]
    #[arg(
        long,
        env = "SUREFOOT_WORKER_CONCURRENCY",
        value_name = "N",
        hide_env_values = true
    )]
    pub(crate) concurrency: Option<usize>,
    /// Time for which running steps may continue after the first signal [default: 10s]
    #[arg(long, env = "SUREFOOT_WORKER_GRACE", value_name = "TIME", value_parser = parse_duration, hide_env_values = true)]
    pub(crate) grace: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// The address to listen on [default: 127.0.0.1:7878]
    #[arg(
        long,
        env = "SUREFOOT_LISTEN",
        value_name = "ADDRESS",
        hide_env_values = true
    )]
    pub(crate) listen: Option<SocketAddr>,
    /// Directory of workflow files that can be submitted by name
    #[arg(
        long,
        env = "SUREFOOT_WORKFLOWS",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) workflows: Option<PathBuf>,
    /// Address that people use if it differs, such as behind a proxy
    #[arg(
        long,
        env = "SUREFOOT_PUBLIC_URL",
        value_name = "URL",
        hide_env_values = true
    )]
    pub(crate) public_url: Option<String>,
    #[command(flatten)]
    pub(crate) work: Worker,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Create a token; it is printed once, and only its digest is kept
    Create(TokenCreate),
    /// List the tokens, with their roles and allow-lists
    List,
    /// Revoke a token, and end the sessions that were started with it
    Revoke {
        /// Name or id of the token
        token: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// Name of its owner or its purpose
    pub(crate) name: String,
    /// Role of the token: viewer, operator or admin
    #[arg(long)]
    pub(crate) role: Role,
    /// Workflows that it may start: names separated by commas, with `*` for any characters
    /// [default: all]
    #[arg(long, value_name = "LIST", value_parser = AllowList::parse)]
    pub(crate) workflows: Option<AllowList>,
    /// Actions that their steps may use: names separated by commas, with `*` for any characters
    /// [default: all]
    #[arg(long, value_name = "LIST", value_parser = AllowList::parse)]
    pub(crate) actions: Option<AllowList>,
    /// Validity, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expires: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ForgeCommand {
    /// Make this host's directory the store's local forge, if the former was lost
    Adopt,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// List firing alerts, and those resolved in the last seven days
    List,
    /// Acknowledge an alert
    Ack {
        /// Id of the alert, as listed
        alert: String,
    },
    /// Send a test message
    Test {
        /// Only to this notifier
        notifier: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Drill {
    /// Only this fault; may be repeated [default: all]
    #[arg(long = "fault", value_name = "NAME", value_enum)]
    pub(crate) faults: Vec<Fault>,
    /// Use a PostgreSQL cluster that the drill starts, and whose server it stops and kills too
    #[arg(long)]
    pub(crate) postgres: bool,
    /// Number of projects, of seven steps each, for each fault
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=200))]
    pub(crate) projects: u32,
    /// Keep the store, repositories, ledger and workers' logs of each fault in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Mount point of a small file system; the drill calls itself with this for the fault that
    /// fills it
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) small_disk: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Only this loop; may be repeated [default: all]
    #[arg(long = "fault", value_name = "NAME", value_enum)]
    pub(crate) loops: Vec<Loop>,
    /// Seconds for which runs are submitted and workers disturbed in each loop
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    pub(crate) seconds: u32,
    /// Use a PostgreSQL cluster that the soak starts, with three workers, and whose server it
    /// restarts and kills too
    #[arg(long)]
    pub(crate) postgres: bool,
    /// Seed of the random choices; printed, so that they can be repeated [default: random]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Keep the store, repositories, ledgers and workers' logs of each loop in this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}
