//! The words of the command line. What they do is in `commands/`; what a value means is checked
//! where it is used, except for what clap can say better.

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

/// Initialise projects durably: every step is committed, so a run that is killed carries on where
/// it was.
#[derive(Debug, Parser)]
#[command(name = "surefoot", version, max_term_width = 100, arg_required_else_help = true, after_help = EXITS)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXITS: &str = "\
Exit status: 0 done; 1 the run failed or was cancelled, or the doctor found a promise broken; 2 wrong use;
3 the store cannot be reached or is in use;
129, 130, 143 told to stop by SIGHUP, SIGINT or SIGTERM before the run had ended: the same command carries on.";

/// Options of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
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
    /// Folder for everything else [default: ./surefoot-data]
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
    /// Say more on the error output; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Initialise a project, with live progress
    Init(Init),
    /// Run any workflow file to its end
    Run(Run),
    /// Hand a run to the store and print its id
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
    /// List what completed steps published: projects, repositories, environments
    Records(Records),
    /// Worker, API and dashboard in one process
    Serve(Serve),
    /// Run what waits in the store until told to stop
    Worker(Worker),
    /// Make, list and revoke the tokens by which people and programs sign in
    #[command(subcommand)]
    Token(Tokens),
    /// List what is wrong now; acknowledge an alert; try whether those who are to be told can be
    Alerts {
        #[command(subcommand)]
        command: Option<Alerts>,
    },
    /// Show which local forge the store's projects are in, and whether this host has it
    Forge {
        #[command(subcommand)]
        command: Option<ForgeCommand>,
    },
    /// Make or upgrade the store's schema, and nothing else
    Migrate,
    /// Say what this deployment really guarantees; exits 1 when a promise does not hold here
    Doctor(Doctor),
    /// Prove the recovery here: kill, freeze and starve real workers on a scratch store, and count
    /// what that did
    Drill(Drill),
    /// Prove the recovery over minutes: kill, freeze and restart workers at random while runs are
    /// submitted
    Soak(Soak),
}

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// The project's name, which is also the run's key: the same name again carries on the same run
    pub(crate) name: String,
    /// The template: a built-in one, a folder, or a git URL; -p template_ref=REF names its branch,
    /// tag or commit
    #[arg(long, value_name = "TEMPLATE")]
    pub(crate) template: Option<String>,
    /// Purpose of the project
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// A value for the template
    #[arg(long = "values", value_name = "KEY=VALUE")]
    pub(crate) values: Vec<String>,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// Show what every step would be given, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Parameters {
    /// A parameter of the workflow
    #[arg(short = 'p', long = "parameter", value_name = "KEY=VALUE")]
    pub(crate) parameters: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Run {
    /// The workflow file
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) parameters: Parameters,
    /// The run's key: the same key again carries on the same run
    #[arg(long, value_parser = key)]
    pub(crate) key: Option<String>,
    /// Show what every step would be given, and do nothing
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
    /// Runs with the same one count against the queue's concurrency per key
    #[arg(long, value_name = "KEY", value_parser = concurrency_key)]
    pub(crate) concurrency_key: Option<String>,
    /// Start no earlier: a time such as 2026-05-04T09:30:00Z, or +10m
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<String>,
    /// Follow the run to its end, as its worker if no other lives
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
    /// Runs at most
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
    /// Only of this step
    #[arg(long)]
    pub(crate) step: Option<String>,
    /// Go on until the run has ended
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
    /// Follow the run to its end, as its worker if no other lives
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cancel {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// Take back what the run made, and only that
    #[arg(long)]
    pub(crate) undo: bool,
    /// Follow the run to its end, as its worker if no other lives
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Answer {
    #[command(flatten)]
    pub(crate) run: RunArg,
    /// The step that waits
    pub(crate) step: String,
    /// rerun, skip or fail for a step that was interrupted; approve or reject for one that asks
    pub(crate) answer: surefoot::state::Answer,
    /// Why: kept in the run's history
    #[arg(long)]
    pub(crate) note: Option<String>,
    /// Follow the run to its end, as its worker if no other lives
    #[arg(long)]
    pub(crate) wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Queue {
    /// Start nothing more in a queue; what runs, runs on
    Pause(QueueName),
    /// Let a paused queue go on
    Resume(QueueName),
    /// Change limits of a queue; those not named stay as they are
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
    /// Runs that start in any window of time, such as 5/1s, or none
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
    /// Workflows that may be submitted: names with `*` for any characters, between commas, or none
    /// for no list
    #[arg(long, value_name = "LIST|none", value_parser = Permit::parse)]
    pub(crate) workflows: Option<Permit>,
    /// Actions that their steps may have: names with `*` for any characters, between commas, or
    /// none for no list
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
    /// Only of this kind: project, repository, environment
    #[arg(long)]
    pub(crate) kind: Option<String>,
    /// Only with this name
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// Only of this run
    #[arg(long)]
    pub(crate) run: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Look at a BullMQ installation instead: the address of its Redis
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<Address>,
    /// The password, where the address has none; others on this host see arguments, but not the
    /// environment
    #[arg(long, env = "REDISCLI_AUTH", value_name = "PASSWORD", value_parser = secret, hide_env_values = true)]
    pub(crate) redis_password: Option<Secret>,
    /// The prefix of BullMQ's keys
    #[arg(long, requires = "redis", default_value = "bull")]
    pub(crate) prefix: String,
    /// A queue of BullMQ [default: all]
    #[arg(long, requires = "redis", value_name = "NAME")]
    pub(crate) queue: Vec<String>,
}

/// A variable that was not set makes an empty key: refused before anything is looked at.
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
    /// Runs at once
    #[arg(
        long,
        env = "SUREFOOT_WORKER_CONCURRENCY",
        value_name = "N",
        hide_env_values = true
    )]
    pub(crate) concurrency: Option<usize>,
    /// Time for which steps may continue after the first signal
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
    /// A folder of workflow files that can be submitted by name
    #[arg(
        long,
        env = "SUREFOOT_WORKFLOWS",
        value_name = "DIR",
        hide_env_values = true
    )]
    pub(crate) workflows: Option<PathBuf>,
    /// The address by which people reach the server, when a proxy stands before it
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
    /// Make a token; it is printed once, and only its digest is kept
    Create(TokenCreate),
    /// List the tokens that hold
    List,
    /// End a token, and the sessions that were begun with it
    Revoke {
        /// Its name or its id
        token: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// Whose it is, or what it is for
    pub(crate) name: String,
    /// Role of the token: viewer, operator or admin
    #[arg(long)]
    pub(crate) role: Role,
    /// Workflows that it may make run: names with `*` for any characters, between commas [default:
    /// all]
    #[arg(long, value_name = "LIST", value_parser = AllowList::parse)]
    pub(crate) workflows: Option<AllowList>,
    /// Actions that they may have: names with `*` for any characters, between commas [default: all]
    #[arg(long, value_name = "LIST", value_parser = AllowList::parse)]
    pub(crate) actions: Option<AllowList>,
    /// Validity, such as 90d [default: until it is revoked]
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(crate) expires: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ForgeCommand {
    /// Make the folder of this host the store's local forge: after it was moved, restored or lost
    Adopt,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Alerts {
    /// List the alerts that fire, and those that were resolved in the last seven days
    List,
    /// Say that an alert is seen
    Ack {
        /// Its id, as the list has it
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
    /// Only this fault; may be given again [default: all of them]
    #[arg(long = "fault", value_name = "NAME", value_enum)]
    pub(crate) faults: Vec<Fault>,
    /// On a PostgreSQL cluster of the drill's own, whose server it stops and kills too
    #[arg(long)]
    pub(crate) postgres: bool,
    /// Projects of seven steps that are under way in each
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=200))]
    pub(crate) projects: u32,
    /// Keep what each fault left: store, repositories, ledger and what the workers said
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
    /// Mount point of a small file system; the drill calls itself with this for the fault that
    /// fills it
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) small_disk: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// Only this loop; may be given again [default: all of them]
    #[arg(long = "fault", value_name = "NAME", value_enum)]
    pub(crate) loops: Vec<Loop>,
    /// How long runs are submitted and workers disturbed in each loop
    #[arg(long, value_name = "N", default_value_t = 180, value_parser = clap::value_parser!(u32).range(5..=86_400))]
    pub(crate) seconds: u32,
    /// On a PostgreSQL cluster of the soak's own, with three workers, whose server it restarts and
    /// kills too
    #[arg(long)]
    pub(crate) postgres: bool,
    /// Begins the random choices; printed, so that they can be had again [default: a random one]
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// Keep what each loop left: store, repositories, ledgers and what the workers said
    #[arg(long, value_name = "DIR")]
    pub(crate) keep: Option<PathBuf>,
}
