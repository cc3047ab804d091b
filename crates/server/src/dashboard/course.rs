//! The course of a run, read from its history: when each attempt of each step ran, what ended it, what was waited for,
//! what was logged, and how the run was carried on when a worker was lost. Knows nothing of pages.

use std::collections::HashMap;

use serde_json::Value;
use surefoot::{Event, Run, StepState, StepStatus, Timestamp};

/// What happened in a stretch of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// An attempt is under way.
    Running,
    /// An attempt that did its work, or that sleeps or asks after its work so far.
    Completed,
    Failed,
    Interrupted,
    /// Waits for the next attempt, a time, a worker or a person.
    Waiting,
    Skipped,
    Undo,
}

/// A stretch of time in a step's life.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) kind: SpanKind,
    pub(crate) attempt: u64,
    pub(crate) from: Timestamp,
    /// `None` while it goes on.
    pub(crate) to: Option<Timestamp>,
    /// Why it ended, or what is waited for.
    pub(crate) text: Option<String>,
}

/// A run was carried on after its worker was lost.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    pub(crate) step: Option<usize>,
    /// The worker that was lost, and the one that carried on.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) reason: String,
    /// When something was last heard of the run, when the loss was found out, and when the run went on.
    pub(crate) heard: Timestamp,
    pub(crate) lost: Timestamp,
    pub(crate) resumed: Timestamp,
    /// When and by whom it was said what becomes of the step, when that was asked.
    pub(crate) answered: Option<(Timestamp, String)>,
}

/// One step's part.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepCourse {
    pub(crate) spans: Vec<Span>,
    /// The last lines that it logged, each with its attempt.
    pub(crate) log: std::collections::VecDeque<(u64, String)>,
    /// Lines in all.
    pub(crate) lines: usize,
}

/// A run's course.
#[derive(Clone, Debug, Default)]
pub(crate) struct Course {
    pub(crate) steps: Vec<StepCourse>,
    pub(crate) recoveries: Vec<Recovery>,
}

/// Lines of a step's log that are kept.
pub(crate) const LINES: usize = 200;

struct Loss {
    step: Option<usize>,
    from: String,
    reason: String,
    heard: Timestamp,
    at: Timestamp,
    answered: Option<(Timestamp, String)>,
}

struct Reader<'a> {
    /// When the event before was written.
    heard: Timestamp,
    positions: HashMap<&'a str, usize>,
    course: Course,
    worker: String,
    loss: Option<Loss>,
}

impl Course {
    pub(crate) fn of(run: &Run, events: &[Event]) -> Self {
        let positions = run
            .plan
            .steps()
            .iter()
            .enumerate()
            .map(|(position, step)| (step.id.as_str(), position));
        let course = Self {
            steps: vec![StepCourse::default(); run.steps.len()],
            recoveries: Vec::new(),
        };
        let mut reader = Reader {
            positions: positions.collect(),
            course,
            worker: String::new(),
            loss: None,
            heard: run.created_at,
        };
        events.iter().for_each(|event| reader.read(event));
        let steps = reader.course.steps.iter_mut().zip(&run.steps);
        steps.for_each(|(course, step)| course.as_it_stands(step));
        reader.course
    }

    /// Every stretch in which something was done, in no order.
    pub(crate) fn active(&self) -> impl Iterator<Item = &Span> {
        self.steps
            .iter()
            .flat_map(|step| &step.spans)
            .filter(|span| span.kind != SpanKind::Waiting)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

impl Reader<'_> {
    fn read(&mut self, event: &Event) {
        match event
            .step
            .as_deref()
            .and_then(|step| self.positions.get(step).copied())
        {
            Some(position) => self.step(position, event),
            None => self.run(event),
        }
        self.heard = event.at;
    }

    fn run(&mut self, event: &Event) {
        match event.kind.as_str() {
            "run.started" => self.taken(event),
            "run.released" => self.lost(None, event),
            "run.completed" | "run.failed" | "run.cancelled" => {
                self.course
                    .steps
                    .iter_mut()
                    .for_each(|step| step.close(event.at, None, None));
                self.loss = None;
            }
            _ => {}
        }
    }

    fn taken(&mut self, event: &Event) {
        let to = text(&event.data["worker"]).unwrap_or_default();
        if let Some(Loss {
            step,
            from,
            reason,
            heard,
            at: lost,
            answered,
        }) = self.loss.take()
        {
            let (to, resumed) = (to.clone(), event.at);
            self.course.recoveries.push(Recovery {
                step,
                from,
                to,
                reason,
                heard,
                lost,
                resumed,
                answered,
            });
        }
        self.worker = to;
    }

    fn lost(&mut self, step: Option<usize>, event: &Event) {
        let reason = text(&event.data["reason"]).unwrap_or_default();
        let (from, heard, at, answered) = (self.worker.clone(), self.heard, event.at, None);
        self.loss = Some(Loss {
            step,
            from,
            reason,
            heard,
            at,
            answered,
        });
    }

    fn step(&mut self, position: usize, event: &Event) {
        let (at, data, heard) = (event.at, &event.data, self.heard);
        if event.kind == "step.interrupted" {
            self.lost(Some(position), event);
        }
        if let Some(loss) = self.loss.as_mut().filter(|_| event.kind == "step.answered") {
            loss.answered = Some((at, text(&data["by"]).unwrap_or_default()));
        }
        let step = &mut self.course.steps[position];
        match event.kind.as_str() {
            "step.started" => {
                step.open(SpanKind::Running, data["attempt"].as_u64().unwrap_or(1), at)
            }
            "step.completed" => step.close(at, Some(SpanKind::Completed), None),
            "step.failed" => step.close(at, Some(SpanKind::Failed), text(&data["error"])),
            "step.retrying" => step.wait(at, SpanKind::Failed, text(&data["error"])),
            // Somewhere after the last sign of life; what came then was no work.
            "step.interrupted" => step.wait(heard, SpanKind::Interrupted, text(&data["reason"])),
            "step.sleeping" => step.wait(at, SpanKind::Completed, None),
            "step.deferred" => step.wait(at, SpanKind::Completed, text(&data["reason"])),
            "step.asking" => step.wait(at, SpanKind::Completed, text(&data["question"])),
            "step.skipped" => step.skip(at, text(&data["reason"])),
            "step.undo_running" => step.open(SpanKind::Undo, 0, at),
            "step.undo_done" | "step.undo_kept" | "step.undo_failed" => {
                step.close(at, None, text(&data["error"]))
            }
            "step.log" => step.log(data),
            _ => {}
        }
    }
}

impl StepCourse {
    fn attempt(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.attempt)
    }

    /// What is known of a step whose part of the history is not: it was too long ago, or is no longer kept.
    fn as_it_stands(&mut self, step: &StepState) {
        let kind = match step.status {
            StepStatus::Running => SpanKind::Running,
            StepStatus::Completed => SpanKind::Completed,
            StepStatus::Failed => SpanKind::Failed,
            StepStatus::Pending | StepStatus::Waiting | StepStatus::Skipped => return,
        };
        if let Some(from) = step.started_at.filter(|_| self.spans.is_empty()) {
            let attempt = u64::from(step.attempt);
            self.spans.push(Span {
                kind,
                attempt,
                from,
                to: step.completed_at,
                text: None,
            });
        }
    }

    fn open(&mut self, kind: SpanKind, attempt: u64, at: Timestamp) {
        self.close(at, None, None);
        self.spans.push(Span {
            kind,
            attempt,
            from: at,
            to: None,
            text: None,
        });
    }

    /// Ends what goes on; a running attempt is then of this kind.
    fn close(&mut self, at: Timestamp, kind: Option<SpanKind>, text: Option<String>) {
        let Some(span) = self.spans.last_mut().filter(|span| span.to.is_none()) else {
            return;
        };
        span.to = Some(at);
        span.text = text.or(span.text.take());
        if let Some(kind) = kind.filter(|_| span.kind == SpanKind::Running) {
            span.kind = kind;
        } else if span.kind == SpanKind::Running {
            span.kind = SpanKind::Interrupted;
        }
    }

    fn wait(&mut self, at: Timestamp, kind: SpanKind, text: Option<String>) {
        let attempt = self.attempt();
        self.close(at, Some(kind), text);
        self.spans.push(Span {
            kind: SpanKind::Waiting,
            attempt,
            from: at,
            to: None,
            text: None,
        });
    }

    fn skip(&mut self, at: Timestamp, text: Option<String>) {
        self.close(at, None, None);
        self.spans.push(Span {
            kind: SpanKind::Skipped,
            attempt: 0,
            from: at,
            to: Some(at),
            text,
        });
    }

    fn log(&mut self, data: &Value) {
        let attempt = data["attempt"].as_u64().unwrap_or(1);
        for line in data["lines"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
        {
            self.lines += 1;
            self.log.push_back((attempt, line.to_owned()));
            if self.log.len() > LINES {
                self.log.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;
    use surefoot::{RunId, Workflow};

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1000)
    }

    fn event(seq: u64, millis: i64, kind: &str, step: Option<&str>, data: Value) -> Event {
        Event {
            seq,
            at: at(millis),
            kind: kind.to_owned(),
            step: step.map(str::to_owned),
            data,
        }
    }

    fn course(events: &[Event]) -> Course {
        let plan = Workflow::builder("w")
            .step("a", "x")
            .step("b", "x")
            .build()
            .unwrap();
        Course::of(
            &Run::new(RunId::at(at(0)), Arc::new(plan), Value::Null, at(0), at(0)),
            events,
        )
    }

    fn kinds(step: &StepCourse) -> Vec<(SpanKind, u64, i64, Option<i64>)> {
        let millis = |at: Timestamp| at.as_micros() / 1000;
        step.spans
            .iter()
            .map(|span| {
                (
                    span.kind,
                    span.attempt,
                    millis(span.from),
                    span.to.map(millis),
                )
            })
            .collect()
    }

    #[test]
    fn attempts_waits_and_recoveries_are_told_from_the_history() {
        let course = course(&[
            event(1, 0, "run.submitted", None, Value::Null),
            event(
                2,
                1,
                "run.started",
                None,
                json!({ "worker": "w1", "resumed": false }),
            ),
            event(3, 1, "step.started", Some("a"), json!({ "attempt": 1 })),
            event(
                4,
                5,
                "step.log",
                Some("a"),
                json!({ "attempt": 1, "lines": ["one", "two"] }),
            ),
            event(
                5,
                9,
                "step.retrying",
                Some("a"),
                json!({ "attempt": 1, "error": "no route" }),
            ),
            event(
                6,
                20,
                "run.started",
                None,
                json!({ "worker": "w1", "resumed": true }),
            ),
            event(7, 20, "step.started", Some("a"), json!({ "attempt": 2 })),
            event(8, 31, "step.progress", Some("a"), json!({ "progress": 10 })),
            event(
                9,
                50,
                "step.interrupted",
                Some("a"),
                json!({ "reason": "worker w1 died" }),
            ),
            event(
                10,
                62,
                "run.started",
                None,
                json!({ "worker": "w2", "resumed": true }),
            ),
            event(11, 62, "step.started", Some("a"), json!({ "attempt": 2 })),
            event(12, 70, "step.completed", Some("a"), Value::Null),
            event(13, 70, "step.started", Some("b"), json!({ "attempt": 1 })),
        ]);
        assert_eq!(
            kinds(&course.steps[0]),
            [
                (SpanKind::Failed, 1, 1, Some(9)),
                (SpanKind::Waiting, 1, 9, Some(20)),
                (SpanKind::Interrupted, 2, 20, Some(31)),
                (SpanKind::Waiting, 2, 31, Some(62)),
                (SpanKind::Completed, 2, 62, Some(70)),
            ]
        );
        assert_eq!(course.steps[0].spans[0].text.as_deref(), Some("no route"));
        assert_eq!(kinds(&course.steps[1]), [(SpanKind::Running, 1, 70, None)]);
        assert_eq!(
            (course.steps[0].lines, course.steps[0].log[1].1.as_str()),
            (2, "two")
        );
        let [recovery] = course.recoveries.as_slice() else {
            panic!("{:?}", course.recoveries)
        };
        assert_eq!(
            (recovery.from.as_str(), recovery.to.as_str(), recovery.step),
            ("w1", "w2", Some(0))
        );
        assert_eq!(
            (recovery.heard, recovery.lost, recovery.resumed),
            (at(31), at(50), at(62))
        );
    }

    #[test]
    fn a_recovery_that_waited_for_a_person_says_so() {
        let course = course(&[
            event(1, 1, "run.started", None, json!({ "worker": "w1" })),
            event(2, 1, "step.started", Some("a"), json!({ "attempt": 1 })),
            event(
                3,
                9,
                "step.interrupted",
                Some("a"),
                json!({ "reason": "worker w1 died" }),
            ),
            event(
                4,
                7_200_000,
                "step.answered",
                Some("a"),
                json!({ "answer": "rerun", "by": "ann" }),
            ),
            event(5, 7_200_005, "run.started", None, json!({ "worker": "w2" })),
        ]);
        assert_eq!(
            course.recoveries[0].answered,
            Some((at(7_200_000), "ann".to_owned()))
        );
    }

    #[test]
    fn a_step_without_history_is_drawn_as_it_stands() {
        let plan = Workflow::builder("w")
            .step("a", "x")
            .step("b", "x")
            .build()
            .unwrap();
        let mut run = Run::new(RunId::at(at(0)), Arc::new(plan), Value::Null, at(0), at(0));
        (run.steps[0].status, run.steps[0].attempt) = (StepStatus::Completed, 2);
        (run.steps[0].started_at, run.steps[0].completed_at) = (Some(at(3)), Some(at(8)));
        let course = Course::of(&run, &[]);
        assert_eq!(
            kinds(&course.steps[0]),
            [(SpanKind::Completed, 2, 3, Some(8))]
        );
        assert_eq!(kinds(&course.steps[1]), []);
    }

    #[test]
    fn the_end_of_a_run_ends_what_goes_on() {
        let course = course(&[
            event(1, 1, "step.started", Some("a"), json!({ "attempt": 1 })),
            event(
                2,
                4,
                "run.cancelled",
                None,
                json!({ "reason": "cancelled" }),
            ),
        ]);
        assert_eq!(
            kinds(&course.steps[0]),
            [(SpanKind::Interrupted, 1, 1, Some(4))]
        );
    }
}
