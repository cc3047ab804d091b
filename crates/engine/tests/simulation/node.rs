//! The lives of a worker: it starts, works, freezes, is killed or stopped, and starts again, until
//! the faults stop.

use std::sync::Arc;
use std::time::Duration;

use surefoot::{Store, Worker, WorkerHandle, WorkerOptions};

use crate::actor;
use crate::history::lock;
use crate::life::Life;
use crate::link::Link;
use crate::rng::Rng;
use crate::world::World;

/// A worker, for as long as the world goes on.
pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) rng: Rng,
    pub(crate) knows_all: bool,
    pub(crate) deaf: bool,
    pub(crate) concurrency: usize,
    /// True if it is alive once the faults have stopped.
    pub(crate) stays: bool,
    /// Longest time without a fault, in milliseconds.
    pub(crate) peace: u64,
}

/// A worker that is alive.
pub(crate) struct Alive {
    pub(crate) handle: WorkerHandle,
    pub(crate) life: Arc<Life>,
    pub(crate) concurrency: usize,
    pub(crate) knows_all: bool,
}

impl Node {
    /// Lives until the faults stop; what is alive then goes on.
    pub(crate) async fn live(mut self, world: Arc<World>) -> Option<Alive> {
        let mut lives = 0;
        loop {
            lives += 1;
            let mut alive = self.start(&world, lives).await;
            lock(&world.clients).insert(self.number, (alive.handle.client(), alive.life.clone()));
            let ended = self.suffer(&world, &mut alive).await;
            if !ended && self.stays {
                return Some(alive);
            }
            lock(&world.clients).remove(&self.number);
            let stops = ended && self.rng.chance(40);
            if stops {
                self.stop(&world, alive).await
            } else {
                kill(&world, alive)
            }
            if !ended {
                return None;
            }
            let pause = self.rng.millis(0, 8_000);
            world.until_calm_or(pause).await;
            if world.is_calm() && !self.stays {
                return None;
            }
        }
    }

    pub(crate) async fn start(&mut self, world: &Arc<World>, lives: usize) -> Alive {
        let name = format!("w{}.{lives}", self.number);
        let life = Arc::new(Life::new(name.clone(), self.deaf));
        let store = Link::of_worker(world, &life, self.rng.fork());
        let options = WorkerOptions {
            name,
            concurrency: self.concurrency,
            lease: world.lease,
            grace: self.rng.millis(0, 3_000),
            handler_grace: self.rng.millis(0, 1_000),
            // Never made: no handler opens its workspace.
            workspaces: "/nonexistent/surefoot-simulation".into(),
            seed: Some(self.rng.next()),
            ..WorkerOptions::default()
        };
        let handle = loop {
            let handlers = actor::handlers(world, &life, self.knows_all);
            let store: Arc<dyn Store> = store.clone();
            match Worker::start(store, handlers, options.clone()).await {
                Ok(handle) => break handle,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        Alive {
            handle,
            life,
            concurrency: self.concurrency,
            knows_all: self.knows_all,
        }
    }

    /// Works, and freezes now and then. Returns whether its end came before the faults stopped.
    async fn suffer(&mut self, world: &Arc<World>, alive: &mut Alive) -> bool {
        loop {
            let peace = self.rng.millis(0, self.peace);
            world.until_calm_or(peace).await;
            if world.is_calm() {
                return false;
            }
            if self.rng.chance(50) {
                return true;
            }
            let long = if self.rng.chance(50) {
                self.rng.millis(1, 3_000)
            } else {
                self.rng.millis(4_000, 15_000)
            };
            world
                .history
                .say(&alive.life.name, || format!("freezes for {long:?}"));
            alive.life.freeze();
            world.until_calm_or(long).await;
            world.history.say(&alive.life.name, || "goes on".to_owned());
            alive.life.was_hampered(world.steady());
            alive.life.thaw();
        }
    }

    async fn stop(&mut self, world: &Arc<World>, alive: Alive) {
        world
            .history
            .say(&alive.life.name, || "is told to stop".to_owned());
        alive.life.leaves();
        let abort = alive.handle.abort();
        let impatient = self.rng.chance(30).then(|| self.rng.millis(0, 2_000));
        let stop = alive.handle.stop();
        tokio::pin!(stop);
        tokio::select! {
            biased;
            _ = &mut stop => {}
            () = after(impatient) => {
                abort();
                stop.await;
            }
        }
        world
            .history
            .say(&alive.life.name, || "has stopped".to_owned());
        // A process that has stopped is gone.
        alive.life.die();
    }
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

/// No goodbye: its calls never return, and its handlers never go on.
pub(crate) fn kill(world: &Arc<World>, alive: Alive) {
    world
        .history
        .say(&alive.life.name, || "is killed".to_owned());
    alive.life.die();
    drop(alive.handle);
}
