//! The one handler: plays the script of its step, and writes in the ledger what it does.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use surefoot::{
    Handlers, Outcome, Output, RunId, StepContext, StepError, StepHandler, StepStatus, Undone,
};

use crate::history::lock;
use crate::ledger::{Call, Ending};
use crate::life::Life;
use crate::script::{COMMON, End, RARE, Script};
use crate::world::World;

struct Actor {
    world: Arc<World>,
    life: Arc<Life>,
}

pub(crate) fn handlers(world: &Arc<World>, life: &Arc<Life>, knows_all: bool) -> Handlers {
    let actor = || Actor {
        world: world.clone(),
        life: life.clone(),
    };
    let handlers = Handlers::new().with(COMMON, actor());
    if knows_all {
        handlers.with(RARE, actor())
    } else {
        handlers
    }
}

pub(crate) fn all_actions() -> BTreeSet<String> {
    [COMMON, RARE].into_iter().map(str::to_owned).collect()
}

/// A call of the handler that goes on. Dropped before it ended, it was cut off.
struct Act {
    world: Arc<World>,
    life: Arc<Life>,
    call: usize,
    run: RunId,
    name: String,
}

#[async_trait]
impl StepHandler for Actor {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let script: Script = context.input()?;
        let act = self.begin(&context, false);
        self.check_begin(&context, &act);
        for part in 1..=script.parts {
            self.life
                .sleep(Duration::from_millis(script.take / script.parts))
                .await;
            act.goes_on();
            if script.parts > 1 {
                let percent = u8::try_from(part * 100 / script.parts).unwrap_or(100);
                context.progress(percent, format!("part {part}"));
                context.log(format!("part {part} of {}", script.parts));
            }
            if script.notes && part == script.parts / 2 + 1 {
                act.note(&context, json!({ "noted": act.call })).await?;
            }
        }
        act.play(&context, &script)
    }

    async fn undo(&self, context: StepContext) -> Result<Undone, StepError> {
        let script: Script = context.input()?;
        let act = self.begin(&context, true);
        self.life
            .sleep(Duration::from_millis(script.take / 2))
            .await;
        act.goes_on();
        let step = self.position(&context);
        let tries = lock(&self.world.ledger).undos(context.run_id(), step);
        if tries <= script.undo_fails as usize {
            act.ends(Ending::Failed);
            return Err(StepError::from("it cannot be undone yet"));
        }
        act.ends(Ending::Completed(Value::Null));
        Ok(Undone::Removed("a thing".to_owned()))
    }
}

impl Actor {
    fn position(&self, context: &StepContext) -> usize {
        let seen = lock(&self.world.seen);
        seen.row(context.run_id())
            .and_then(|run| run.plan.position(context.step_id()))
            .unwrap_or(0)
    }

    fn begin(&self, context: &StepContext, undo: bool) -> Act {
        let run = context.run_id();
        let lease = self.life.lease(run);
        let step = self.position(context);
        let attempt = context.attempt();
        let began = self.world.steady();
        let open = lease.and_then(|lease| lock(&self.world.ledger).open(lease).cloned());
        let name = format!("{} {}", lock(&self.world.seen).name(run), context.step_id());
        self.world.history.expect(open.is_none(), || {
            format!("2: {name} begins while another step of its lease goes on")
        });
        let call = Call {
            run,
            step,
            attempt,
            lease,
            undo,
            life: self.life.clone(),
            began,
            ended: None,
        };
        let call = lock(&self.world.ledger).begin(call);
        let what = if undo { "undo" } else { "handler" };
        self.world.history.say(&self.life.name, || {
            format!("{what} of {name} begins, attempt {attempt}")
        });
        let act = Act {
            world: self.world.clone(),
            life: self.life.clone(),
            call,
            run,
            name,
        };
        act.goes_on();
        act
    }

    /// A worker whose lease holds begins only what the store says is to run, and sees what the
    /// store has.
    fn check_begin(&self, context: &StepContext, act: &Act) {
        let call = lock(&self.world.ledger).calls[act.call].clone();
        let seen = lock(&self.world.seen);
        let Some(run) = call
            .lease
            .filter(|lease| seen.holds(*lease))
            .and_then(|lease| seen.row(lease.run))
        else {
            return;
        };
        let row = &run.steps[call.step];
        let expect = |holds: bool, what: &str| {
            self.world
                .history
                .expect(holds, || format!("2: {}: {what}", act.name))
        };
        expect(
            row.status == StepStatus::Running,
            &format!("its handler begins, and it is {}", row.status),
        );
        expect(
            row.attempt == call.attempt,
            "its handler is told of another attempt",
        );
        expect(
            row.checkpoint.as_ref() == context.checkpoint(),
            "its handler is given another checkpoint",
        );
        expect(
            row.answer.as_ref() == context.answer(),
            "its handler is given another answer",
        );
        for (plan, step) in run.plan.steps()[..call.step].iter().zip(&run.steps) {
            expect(
                step.output.as_ref() == context.output(&plan.id),
                "its handler sees another output",
            );
        }
    }
}

impl Act {
    /// The handler does something outside. Who has heard that the run is another's does no more.
    fn goes_on(&self) {
        let call = lock(&self.world.ledger).calls[self.call].clone();
        let now = self.world.steady();
        let heard_at = {
            let seen = lock(&self.world.seen);
            let lease = call
                .lease
                .and_then(|lease| seen.leases.get(&(self.run, lease.epoch)).copied());
            lease.and_then(|lease| lease.heard_at)
        };
        // In the very moment the handler's task may have been on its way already.
        self.world
            .history
            .expect(heard_at.is_none_or(|at| now <= at), || {
                format!(
                    "3: {} goes on in {}, which has heard that its lease is over",
                    self.name, self.life.name
                )
            });
    }

    async fn note(&self, context: &StepContext, checkpoint: Value) -> Result<(), StepError> {
        let saved = context.save_checkpoint(checkpoint.clone()).await;
        self.life.awake().await;
        let call = lock(&self.world.ledger).calls[self.call].clone();
        if saved.is_err() {
            self.ends(Ending::Gone);
        } else {
            let seen = lock(&self.world.seen);
            let row = call
                .lease
                .filter(|lease| seen.holds(*lease))
                .and_then(|lease| seen.row(lease.run));
            let kept =
                row.is_none_or(|row| row.steps[call.step].checkpoint.as_ref() == Some(&checkpoint));
            self.world.history.expect(kept, || {
                format!("9: {}'s checkpoint is not kept", self.name)
            });
        }
        saved
    }

    fn play(&self, context: &StepContext, script: &Script) -> Result<Outcome, StepError> {
        if context.attempt() <= script.fails {
            self.ends(Ending::Failed);
            return Err(StepError::from("not yet"));
        }
        let rested = context
            .checkpoint()
            .is_some_and(|checkpoint| checkpoint.get("rested").is_some());
        match script.end {
            End::Fatal => {
                self.ends(Ending::Failed);
                Err(StepError::fatal("it will never work"))
            }
            End::Panics => {
                self.ends(Ending::Failed);
                // Without the hook that prints it.
                std::panic::resume_unwind(Box::new("the handler panics"))
            }
            End::Sleeps(millis) if !rested => {
                self.ends(Ending::Suspended);
                Ok(Outcome::Sleep {
                    delay: Duration::from_millis(millis),
                    checkpoint: json!({ "rested": true }),
                })
            }
            End::Asks if context.answer().is_none() => {
                self.ends(Ending::Suspended);
                Ok(Outcome::Ask {
                    question: "go on?".to_owned(),
                    checkpoint: Value::Null,
                })
            }
            _ => {
                let output = json!({ "call": self.call });
                self.ends(Ending::Completed(output.clone()));
                let mut result = Output::new(output)?;
                if let Some(record) = &script.record {
                    result = result.record("thing", record, json!({ "call": self.call }));
                }
                Ok(result.into())
            }
        }
    }

    fn ends(&self, ending: Ending) {
        self.world.history.say(&self.life.name, || {
            format!("handler of {} ends: {ending:?}", self.name)
        });
        let now = self.world.steady();
        lock(&self.world.ledger).end(self.call, now, ending);
    }
}

impl Drop for Act {
    fn drop(&mut self) {
        let open = !self.world.history.is_over()
            && lock(&self.world.ledger).calls[self.call].ended.is_none();
        if open {
            self.ends(Ending::Dropped);
        }
    }
}
