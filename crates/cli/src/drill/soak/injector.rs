//! The injector of a soak: a slot for each worker process and one for the server, each disturbed at
//! random times.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use surefoot::{RunId, Timestamp};
use surefoot_scratch_postgres::Stop;
use tokio_util::sync::CancellationToken;

use super::super::ground::{Ground, blocking};
use super::super::moves::Break;
use super::super::scene::Scene;
use super::super::workers::Worker;
use super::loops::Loop;
use super::random::Random;
use crate::errors::Failure;

/// Interval between two looks at the slots.
const TICK: Duration = Duration::from_millis(20);

/// The pause before a worker that ended by itself is started again, as a supervisor makes it.
const SUPERVISED: Duration = Duration::from_millis(300);

/// Exit status of a worker that starts while its store is away.
const STORE_AWAY: i32 = 3;

/// The disturbances so far, and what came of them.
#[derive(Debug, Default)]
pub(super) struct Injections {
    pub(super) kills: usize,
    pub(super) freezes: usize,
    pub(super) restarts: usize,
    pub(super) database_restarts: usize,
    /// Workers that ended by themselves because the store was away when they started.
    pub(super) refused_starts: usize,
    pub(super) breaks: Vec<Break>,
    pub(super) wrong: Vec<String>,
}

/// Runs that a disturbance stopped, and the time at which it did.
struct Stopped {
    at: Timestamp,
    running: Vec<RunId>,
}

enum State {
    Gone(Option<Stopped>),
    Running(Worker),
    Frozen(Worker, Stopped),
    Stopping(Worker, Stopped),
}

/// Successive worker processes on a host.
struct Slot {
    host: usize,
    state: State,
    /// The time of the next change.
    due: Instant,
}

/// The server, where it may be stopped.
struct Server {
    stopped: Option<Vec<RunId>>,
    due: Instant,
}

/// Disturbs workers and the server.
pub(super) struct Injector<'s> {
    scene: &'s mut Scene,
    kind: Loop,
    random: Random,
    slots: Vec<Slot>,
    server: Option<Server>,
    done: Injections,
}

impl<'s> Injector<'s> {
    pub(super) fn new(
        scene: &'s mut Scene,
        kind: Loop,
        workers: usize,
        mut random: Random,
    ) -> Self {
        let now = Instant::now();
        // The hosts of an embedded store are one, which is number 0.
        let first = usize::from(!scene.is_embedded());
        let slots = (first..first + workers)
            .map(|host| Slot {
                host,
                state: State::Gone(None),
                due: now,
            })
            .collect();
        let is_disturbed = matches!(kind, Loop::Restart | Loop::Mixed);
        let server = matches!(scene.ground.as_ref(), Ground::Own(_)) && is_disturbed;
        let server = server.then(|| Server {
            stopped: None,
            due: now + random.time(3000, 8000),
        });
        Self {
            scene,
            kind,
            random,
            slots,
            server,
            done: Injections::default(),
        }
    }

    /// Disturbs until `end`, then keeps every worker alive until all runs have settled.
    pub(super) async fn run(
        mut self,
        end: Instant,
        settled: &CancellationToken,
    ) -> Result<Injections, Failure> {
        while Instant::now() < end {
            self.tick(true).await?;
            tokio::time::sleep(TICK).await;
        }
        // Stopped processes are restarted at once.
        let now = Instant::now();
        for slot in &mut self.slots {
            slot.due = slot.due.min(now);
        }
        if let Some(server) = &mut self.server {
            server.due = now;
        }
        while !settled.is_cancelled() {
            self.tick(false).await?;
            tokio::time::sleep(TICK).await;
        }
        Ok(self.done)
    }

    async fn tick(&mut self, disturbs: bool) -> Result<(), Failure> {
        self.server(disturbs).await?;
        for index in 0..self.slots.len() {
            self.slot(index, disturbs).await?;
        }
        Ok(())
    }

    async fn server(&mut self, disturbs: bool) -> Result<(), Failure> {
        let ground = Arc::clone(&self.scene.ground);
        let (Some(server), Ground::Own(postgres)) = (&mut self.server, ground.as_ref()) else {
            return Ok(());
        };
        if Instant::now() < server.due {
            return Ok(());
        }
        if let Some(running) = server.stopped.take() {
            blocking(|| postgres.start_again())?;
            server.due = Instant::now() + self.random.time(8000, 20_000);
            let back = self.scene.now();
            self.done.breaks.push(Break { back, running });
        } else if disturbs {
            let ways: &[Stop] = match self.kind {
                Loop::Mixed => &[Stop::Fast, Stop::Immediate, Stop::Kill],
                _ => &[Stop::Fast, Stop::Immediate],
            };
            let way = ways[self.random.below(ways.len() as u64) as usize];
            let running = self
                .scene
                .running()
                .await
                .iter()
                .map(|run| run.id)
                .collect();
            blocking(|| postgres.stop(way))?;
            self.done.database_restarts += 1;
            server.stopped = Some(running);
            server.due = Instant::now() + self.random.time(0, 3000);
        }
        Ok(())
    }

    async fn slot(&mut self, index: usize, disturbs: bool) -> Result<(), Failure> {
        let slot = &mut self.slots[index];
        let host = slot.host;
        let is_due = Instant::now() >= slot.due;
        let has_ended = match &mut slot.state {
            State::Running(worker) | State::Stopping(worker, _) => worker.has_ended(),
            State::Gone(_) | State::Frozen(..) => false,
        };
        let state = std::mem::replace(&mut slot.state, State::Gone(None));
        let (state, pause) = match state {
            State::Running(mut worker) if has_ended => {
                let status = worker.ended(SUPERVISED).await?;
                self.ended_by_itself(status, &worker);
                (State::Gone(None), Some(SUPERVISED))
            }
            State::Running(worker) if is_due && disturbs => {
                let (state, pause) = self.disturb(worker).await?;
                (state, Some(pause))
            }
            State::Frozen(worker, stopped) if is_due => {
                worker.signal(Signal::CONT)?;
                self.back(stopped);
                (State::Running(worker), Some(self.until_next()))
            }
            State::Stopping(mut worker, stopped) if has_ended => {
                let status = worker.ended(SUPERVISED).await?;
                if !status.success() {
                    let wrong = format!("a worker that was told to stop ended with {status}");
                    self.done.wrong.push(wrong);
                }
                (State::Gone(Some(stopped)), Some(self.random.time(0, 1000)))
            }
            State::Gone(stopped) if is_due => {
                let worker = self.scene.worker_on(host)?;
                if let Some(stopped) = stopped {
                    self.back(stopped);
                }
                (State::Running(worker), Some(self.until_next()))
            }
            unchanged => (unchanged, None),
        };
        let slot = &mut self.slots[index];
        slot.state = state;
        if let Some(pause) = pause {
            slot.due = Instant::now() + pause;
        }
        Ok(())
    }

    fn ended_by_itself(&mut self, status: ExitStatus, worker: &Worker) {
        if status.code() == Some(STORE_AWAY) && self.server.is_some() {
            self.done.refused_starts += 1;
            return;
        }
        let said = worker.said();
        let last = said.lines().last().unwrap_or_default();
        self.done.wrong.push(format!(
            "worker {} ended by itself with {status}: {last}",
            worker.id()
        ));
    }

    async fn disturb(&mut self, worker: Worker) -> Result<(State, Duration), Failure> {
        let acts: &[Loop] = match self.kind {
            Loop::Mixed => &[Loop::Kill, Loop::Freeze, Loop::Restart],
            Loop::Kill => &[Loop::Kill],
            Loop::Freeze => &[Loop::Freeze],
            Loop::Restart => &[Loop::Restart],
        };
        let pid = worker.id();
        let at = self.scene.now();
        match acts[self.random.below(acts.len() as u64) as usize] {
            Loop::Kill | Loop::Mixed => {
                worker.kill().await?;
                self.done.kills += 1;
                let running = self.held(pid).await;
                let pause = self.until_started();
                Ok((State::Gone(Some(Stopped { at, running })), pause))
            }
            Loop::Freeze => {
                worker.signal(Signal::STOP)?;
                self.done.freezes += 1;
                let running = self.held(pid).await;
                let pause = self.random.time(1000, 15_000);
                Ok((State::Frozen(worker, Stopped { at, running }), pause))
            }
            Loop::Restart => {
                let running = self.held(pid).await;
                worker.signal(Signal::TERM)?;
                self.done.restarts += 1;
                let stopped = Stopped { at, running };
                Ok((State::Stopping(worker, stopped), Duration::ZERO))
            }
        }
    }

    /// The runs that a worker holds. A store that is away would keep the soak waiting for an
    /// answer.
    async fn held(&self, pid: u32) -> Vec<RunId> {
        let is_away = |server: &Server| server.stopped.is_some();
        if self.server.as_ref().is_some_and(is_away) {
            return Vec::new();
        }
        self.scene.held(pid).await
    }

    /// Notes that stopped runs can move from now on; where another worker may take them, from when
    /// they were stopped.
    fn back(&mut self, stopped: Stopped) {
        let back = if self.scene.is_embedded() {
            self.scene.now()
        } else {
            stopped.at
        };
        self.done.breaks.push(Break {
            back,
            running: stopped.running,
        });
    }

    /// The time that a worker is left alone.
    fn until_next(&mut self) -> Duration {
        if self.scene.is_embedded() {
            self.random.time(1000, 4000)
        } else {
            self.random.time(2000, 8000)
        }
    }

    /// The time until a killed worker is started again: where others live, half of the time after
    /// they took over.
    fn until_started(&mut self) -> Duration {
        if self.scene.is_embedded() {
            self.random.time(0, 1000)
        } else if self.random.below(2) == 0 {
            self.random.time(0, 500)
        } else {
            self.random.time(6000, 9000)
        }
    }
}
