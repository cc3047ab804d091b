//! Following a run to its end with live progress. This process works on the run if no other worker
//! does, takes over when that worker dies, and hands the run back on a stop.

use std::time::Duration;

use surefoot::{Client, Event, Run, RunId, Store, StoreError, Waiting, Watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::app::App;
use crate::errors::{Exit, Failure};
use crate::host::{Host, Outcome, named, same_command};
use crate::out;
use crate::progress::{Screen, clean};
use crate::questions;
use crate::signals::Signals;

/// Interval of the spinner.
const TICK: Duration = Duration::from_millis(100);
/// Interval at which a process that is not the worker tries to become it.
const TAKE_OVER: Duration = Duration::from_millis(250);
/// Interval at which the reason of a wait is read.
const STANDSTILL: Duration = Duration::from_secs(1);

/// Follows a run without working on it, so that a watcher delays nothing.
pub(crate) async fn watch(app: &App, client: &Client, run: &Run) -> Result<Run, Failure> {
    let mut watch = client.watch(run.id, 0);
    let mut screen = Screen::from_the_start(run, app.diagnostics);
    let mut tick = every(TICK);
    let mut standstill = Standstill::new();
    loop {
        tokio::select! {
            event = watch.next() => match event? {
                Some(event) => screen.show(&event),
                None => break,
            },
            _ = tick.tick() => screen.tick(),
            _ = standstill.looks.tick() => standstill.look(client, run.id, &screen).await?,
        }
    }
    screen.close();
    Ok(client.run(run.id).await?)
}

/// Follows a run from after event `seen`, and works on it when no other process does.
pub(crate) async fn carry(
    app: &App,
    host: &mut Host,
    client: &Client,
    run: &Run,
    seen: u64,
) -> Result<Outcome, Failure> {
    let mut signals = Signals::install()?;
    let left = host.others(Some(run.id)).await?;
    let works = host.work(run.id).await?;
    let screen = Screen::new(run, app.diagnostics);
    introduce(&screen, &left, works);
    ask(&screen, run);
    let standstill = Standstill::new();
    let mut carrier = Carrier {
        host,
        client,
        run: run.id,
        watch: client.watch(run.id, seen),
        screen,
        standstill,
    };
    let outcome = carrier.follow(&mut signals).await;
    carrier.screen.close();
    let outcome = outcome?;
    leave(host, &mut signals).await;
    Ok(outcome)
}

/// The number of the last event so far: what happened before a command began is not told again.
pub(crate) async fn last_event(store: &dyn Store, run: RunId) -> Result<u64, StoreError> {
    const PAGE: usize = 1000;
    let mut last = 0;
    loop {
        let events = store.events(run, last, PAGE).await?;
        last = events.last().map_or(last, |event| event.seq);
        if events.len() < PAGE {
            return Ok(last);
        }
    }
}

fn introduce(screen: &Screen, left: &[Run], works: bool) {
    if !works {
        screen.note(
            "another process is the worker of this store: it runs this, and this process watches",
        );
    } else if !left.is_empty() {
        screen.note(&format!("also carrying on {}", named(left)));
    }
}

/// Prints a question that was asked before this command began.
fn ask(screen: &Screen, run: &Run) {
    for question in questions::open(run) {
        let says = question
            .says
            .map(|says| format!(": {}", clean(says)))
            .unwrap_or_default();
        screen.note(&format!(
            "waits for an answer to step {}{says}\n       answer with: {}",
            question.step, question.how
        ));
    }
}

/// Gives the other runs of this worker the grace period, then hands them back.
async fn leave(host: &mut Host, signals: &mut Signals) {
    let running = host.running();
    if running > 0 {
        out::say(&format!(
            "waiting up to {} for {running} other run{} on this worker",
            host.grace(),
            if running == 1 { "" } else { "s" }
        ));
    }
    host.stop(signals).await;
}

fn every(period: Duration) -> Interval {
    let mut interval = interval(period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

struct Carrier<'a> {
    host: &'a mut Host,
    client: &'a Client,
    run: RunId,
    watch: Watch,
    screen: Screen,
    standstill: Standstill,
}

/// A run that stands still: why is said once, and again when the reason changes.
struct Standstill {
    looks: Interval,
    said: Option<String>,
}

impl Standstill {
    fn new() -> Self {
        let mut looks = every(STANDSTILL);
        looks.reset();
        Self { looks, said: None }
    }

    async fn look(
        &mut self,
        client: &Client,
        run: RunId,
        screen: &Screen,
    ) -> Result<(), StoreError> {
        let now = client.waiting(&client.run(run).await?).await?;
        // Steps say of themselves that they ask, sleep, are deferred or try again.
        let now = now.filter(|now| {
            !matches!(
                now,
                Waiting::Answer { .. } | Waiting::Until(_) | Waiting::Unavailable { .. }
            )
        });
        // The number of waiting runs changes all the time and is no new reason.
        let named = now.as_ref().map(|now| match now {
            Waiting::Turn { queue, .. } => format!("turn in {queue}"),
            other => other.to_string(),
        });
        if self.said != named
            && let Some(now) = now
        {
            screen.note(&format!("waits {}", clean(&now.to_string())));
        }
        self.said = named;
        Ok(())
    }
}

/// Event while a run is followed.
enum Turn {
    Happened(Result<Option<Event>, StoreError>),
    Told(Exit),
    Tick,
    Standstill,
    TakeOver,
    Trouble(Option<String>),
}

impl Carrier<'_> {
    async fn follow(&mut self, signals: &mut Signals) -> Result<Outcome, Failure> {
        let mut tick = every(TICK);
        let mut take_over = every(TAKE_OVER);
        let mut trouble = None;
        loop {
            let turn = tokio::select! {
                event = self.watch.next() => Turn::Happened(event),
                exit = signals.next() => Turn::Told(exit),
                _ = tick.tick() => Turn::Tick,
                _ = self.standstill.looks.tick() => Turn::Standstill,
                _ = take_over.tick(), if !self.host.works() => Turn::TakeOver,
                now = self.host.trouble(&mut trouble) => Turn::Trouble(now),
            };
            match turn {
                Turn::Happened(Ok(Some(event))) => self.screen.show(&event),
                Turn::Happened(Ok(None)) => return self.ended().await,
                Turn::Happened(Err(error)) if error.is_retryable() => {
                    tokio::time::sleep(TAKE_OVER).await
                }
                Turn::Happened(Err(error)) => return Err(error.into()),
                Turn::Told(exit) => return self.stopped(exit, signals).await,
                Turn::Tick => self.screen.tick(),
                Turn::Standstill => match self
                    .standstill
                    .look(self.client, self.run, &self.screen)
                    .await
                {
                    Err(error) if !error.is_retryable() => return Err(error.into()),
                    Ok(()) | Err(_) => {}
                },
                Turn::TakeOver => self.take_over().await?,
                Turn::Trouble(Some(reason)) => self.screen.note(&format!(
                    "the store cannot be written: {reason}; waiting for it"
                )),
                Turn::Trouble(None) => self.screen.note("the store is available again"),
            }
        }
    }

    async fn take_over(&mut self) -> Result<(), Failure> {
        if self.host.work(self.run).await? {
            self.screen.note("the worker is gone: carrying on here");
        }
        Ok(())
    }

    async fn ended(&self) -> Result<Outcome, Failure> {
        Ok(Outcome::Ended(Box::new(self.client.run(self.run).await?)))
    }

    /// Told to stop: what this process works on is handed back; what another works on goes on
    /// there.
    async fn stopped(&mut self, exit: Exit, signals: &mut Signals) -> Result<Outcome, Failure> {
        let worked = self.host.works();
        if worked {
            let grace = self.host.grace();
            self.screen.note(&format!(
                "shutting down: running steps get {grace} (press Ctrl-C again to stop now)"
            ));
        }
        self.host.stop(signals).await;
        let run = self.client.run(self.run).await?;
        if run.head.status.is_ended() {
            return self.ended().await;
        }
        self.screen.note(&if worked {
            format!(
                "stopped; nothing is lost. Carry on with: {}",
                same_command()
            )
        } else {
            format!(
                "no longer watching; run {} goes on. See it with: surefoot watch {}",
                run.id, run.id
            )
        });
        Ok(Outcome::Stopped(exit))
    }
}
