//! The commands, a file for each.

mod alerts;
mod answer;
mod cancel;
mod forge;
mod init;
mod logs;
mod migrate;
mod queues;
mod records;
mod retry;
mod run;
mod runs;
mod serve;
mod show;
mod submit;
mod token;
mod watch;
mod worker;

use surefoot::{Client, Run};

use crate::app::App;
use crate::args::Command;
use crate::doctor;
use crate::errors::{Exit, Failure};
use crate::follow;
use crate::host::{Host, Outcome};
use crate::out;
use crate::summary;
use crate::view::RunView;

/// Does what was asked.
pub(crate) async fn execute(app: &App, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(args) => init::init(app, args).await,
        Command::Run(args) => run::run(app, args).await,
        Command::Submit(args) => submit::submit(app, args).await,
        Command::Runs(args) => runs::runs(app, args).await,
        Command::Show(args) => show::show(app, args).await,
        Command::Watch(args) => watch::watch(app, args).await,
        Command::Logs(args) => logs::logs(app, args).await,
        Command::Retry(args) => retry::retry(app, args).await,
        Command::Cancel(args) => cancel::cancel(app, args).await,
        Command::Answer(args) => answer::answer(app, args).await,
        Command::Queues => queues::list(app).await,
        Command::Queue(args) => queues::change(app, args).await,
        Command::Records(args) => records::records(app, args).await,
        Command::Forge { command } => forge::forge(app, command.as_ref()).await,
        Command::Migrate => migrate::migrate(app).await,
        Command::Serve(args) => serve::serve(app, args).await,
        Command::Token(args) => token::token(app, args).await,
        Command::Alerts { command } => alerts::alerts(app, command.as_ref()).await,
        Command::Worker(args) => worker::worker(app, args).await,
        Command::Doctor(args) => doctor::doctor(app, args).await,
        Command::Drill(args) => crate::drill::drill(app, args).await,
        Command::Soak(args) => crate::drill::soak(app, args).await,
    }
}

/// After a person changed a run: follows it to its end when asked to, and otherwise says how it
/// stands.
async fn changed(
    app: &App,
    client: &Client,
    run: Run,
    seen: u64,
    wait: bool,
) -> Result<Exit, Failure> {
    if wait && !run.head.status.is_ended() {
        return summary::print(app, &carried(app, client, run, seen).await?);
    }
    if app.json {
        summary::json(&RunView::from(&run))?;
    } else {
        out::print(&format!("run {} is {}\n", run.id, run.head.status))?;
    }
    say_who_works(client, &run).await?;
    Ok(Exit::Done)
}

/// Follows a run from after event `seen`, as its worker if no other lives.
async fn carried(app: &App, client: &Client, run: Run, seen: u64) -> Result<Outcome, Failure> {
    let mut host = Host::new(app, client.store().clone());
    follow::carry(app, &mut host, client, &run, seen).await
}

/// A run that waits for a worker when none lives would wait for ever: say what carries it on.
async fn say_who_works(client: &Client, run: &Run) -> Result<(), Failure> {
    if !run.head.status.is_ended() && client.store().workers().await?.is_empty() {
        out::say(
            "no worker lives on this store: the run waits for one. Start it with: surefoot worker",
        );
    }
    Ok(())
}
