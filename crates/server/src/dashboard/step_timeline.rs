//! Timelines of a run's steps, read from its history: the attempts and how they ended, the waits,
//! the log lines, and the recoveries after the loss of a worker. Independent of pages.

use std::collections::HashMap;

use serde_json::Value;
use surefoot::{Event, Run, StepState, StepStatus, Timestamp};

/// The kind of a span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SpanKind {
    /// An attempt is running.
    Running,
    /// An attempt that completed, or that returned to sleep or to ask.
    Completed,
    Failed,
    Interrupted,
    /// Waiting for the next attempt, a time, a worker or a person.
    Waiting,
    Skipped,
    Undo,
}

/// A span of time in a step's timeline.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    pub(crate) kind: SpanKind,
    pub(crate) attempt: u64,
    pub(crate) from: Timestamp,
    /// `None` while it lasts.
    pub(crate) to: Option<Timestamp>,
    /// Why it ended, or what the step waits for.
    pub(crate) text: Option<String>,
}

/// The takeover of a run after its worker was lost.
#[derive(Clone, Debug)]
pub(crate) struct Recovery {
    pub(crate) step: Option<usize>,
    /// The lost worker, and the one that took over.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) reason: String,
    /// The last event before the loss, the detection of the loss, and the start of the takeover.
    pub(crate) last_event_at: Timestamp,
    pub(crate) lost: Timestamp,
    pub(crate) resumed: Timestamp,
    /// Time and author of the answer, if a person had to decide about the step.
    pub(crate) answered: Option<(Timestamp, String)>,
}

/// The timeline of one step.
#[derive(Clone, Debug, Default)]
pub(crate) struct StepTimeline {
    pub(crate) spans: Vec<Span>,
    /// Its last log lines, each with its attempt.
    pub(crate) log: std::collections::VecDeque<(u64, String)>,
    /// Total number of log lines.
    pub(crate) lines: usize,
}

/// The timelines of a run's steps.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunTimeline {
    pub(crate) steps: Vec<StepTimeline>,
    pub(crate) recoveries: Vec<Recovery>,
}

/// Number of log lines kept per step.
pub(crate) const MAX_LINES: usize = 200;

struct Loss {
    step: Option<usize>,
    from: String,
    reason: String,
    last_event_at: Timestamp,
    at: Timestamp,
    answered: Option<(Timestamp, String)>,
}

struct Reader<'a> {
    /// The time of the previous event.
    last_event_at: Timestamp,
    positions: HashMap<&'a str, usize>,
    timeline: RunTimeline,
    worker: String,
    loss: Option<Loss>,
}

impl RunTimeline {
    pub(crate) fn of(run: &Run, events: &[Event]) -> Self {
        let positions = run
            .plan
            .steps()
            .iter()
            .enumerate()
            .map(|(position, step)| (step.id.as_str(), position));
        let timeline = Self {
            steps: vec![StepTimeline::default(); run.steps.len()],
            recoveries: Vec::new(),
        };
        let mut reader = Reader {
            positions: positions.collect(),
            timeline,
            worker: String::new(),
            loss: None,
            last_event_at: run.created_at,
        };
        for event in events {
            reader.read(event);
        }
        let steps = reader.timeline.steps.iter_mut().zip(&run.steps);
        for (timeline, step) in steps {
            timeline.add_from_row(step);
        }
        reader.timeline
    }

    /// Every span of activity, in no particular order.
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
        self.last_event_at = event.at;
    }

    fn run(&mut self, event: &Event) {
        match event.kind.as_str() {
            "run.started" => self.run_claimed(event),
            "run.released" => self.run_lost(None, event),
            "run.completed" | "run.failed" | "run.cancelled" => {
                for step in &mut self.timeline.steps {
                    step.close(event.at, None, None);
                }
                self.loss = None;
            }
            _ => {}
        }
    }

    fn run_claimed(&mut self, event: &Event) {
        let to = text(&event.data["worker"]).unwrap_or_default();
        if let Some(Loss {
            step,
            from,
            reason,
            last_event_at,
            at: lost,
            answered,
        }) = self.loss.take()
        {
            let to = to.clone();
            let resumed = event.at;
            self.timeline.recoveries.push(Recovery {
                step,
                from,
                to,
                reason,
                last_event_at,
                lost,
                resumed,
                answered,
            });
        }
        self.worker = to;
    }

    fn run_lost(&mut self, step: Option<usize>, event: &Event) {
        let reason = text(&event.data["reason"]).unwrap_or_default();
        let from = self.worker.clone();
        let last_event_at = self.last_event_at;
        let at = event.at;
        let answered = None;
        self.loss = Some(Loss {
            step,
            from,
            reason,
            last_event_at,
            at,
            answered,
        });
    }

    fn step(&mut self, position: usize, event: &Event) {
        let at = event.at;
        let data = &event.data;
        let last_event_at = self.last_event_at;
        if event.kind == "step.interrupted" {
            self.run_lost(Some(position), event);
        }
        if event.kind == "step.answered"
            && let Some(loss) = &mut self.loss
        {
            loss.answered = Some((at, text(&data["by"]).unwrap_or_default()));
        }
        let step = &mut self.timeline.steps[position];
        match event.kind.as_str() {
            "step.started" => {
                step.open(SpanKind::Running, data["attempt"].as_u64().unwrap_or(1), at)
            }
            "step.completed" => step.close(at, Some(SpanKind::Completed), None),
            "step.failed" => step.close(at, Some(SpanKind::Failed), text(&data["error"])),
            "step.retrying" => step.wait(at, SpanKind::Failed, text(&data["error"])),
            // The loss happened some time after the last event; the time since then was no work.
            "step.interrupted" => {
                step.wait(last_event_at, SpanKind::Interrupted, text(&data["reason"]))
            }
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

impl StepTimeline {
    fn attempt(&self) -> u64 {
        self.spans.last().map_or(0, |span| span.attempt)
    }

    /// Adds a span from the step's row if its part of the history is missing: too long ago, or
    /// removed.
    fn add_from_row(&mut self, step: &StepState) {
        let kind = match step.status {
            StepStatus::Running => SpanKind::Running,
            StepStatus::Completed => SpanKind::Completed,
            StepStatus::Failed => SpanKind::Failed,
            StepStatus::Pending | StepStatus::Waiting | StepStatus::Skipped => return,
        };
        if self.spans.is_empty()
            && let Some(from) = step.started_at
        {
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

    /// Ends the open span. A running attempt becomes `kind`.
    fn close(&mut self, at: Timestamp, kind: Option<SpanKind>, text: Option<String>) {
        let Some(span) = self.spans.last_mut().filter(|span| span.to.is_none()) else {
            return;
        };
        span.to = Some(at);
        span.text = text.or(span.text.take());
        if span.kind == SpanKind::Running {
            span.kind = kind.unwrap_or(SpanKind::Interrupted);
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
            if self.log.len() > MAX_LINES {
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

    fn timeline(events: &[Event]) -> RunTimeline {
        let plan = Workflow::builder("w")
            .step("a", "x")
            .step("b", "x")
            .build()
            .unwrap();
        RunTimeline::of(
            &Run::new(RunId::at(at(0)), Arc::new(plan), Value::Null, at(0), at(0)),
            events,
        )
    }

    fn kinds(step: &StepTimeline) -> Vec<(SpanKind, u64, i64, Option<i64>)> {
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
    fn attempts_waits_and_recoveries_are_read_from_the_history() {
        let timeline = timeline(&[
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
            kinds(&timeline.steps[0]),
            [
                (SpanKind::Failed, 1, 1, Some(9)),
                (SpanKind::Waiting, 1, 9, Some(20)),
                (SpanKind::Interrupted, 2, 20, Some(31)),
                (SpanKind::Waiting, 2, 31, Some(62)),
                (SpanKind::Completed, 2, 62, Some(70)),
            ]
        );
        assert_eq!(timeline.steps[0].spans[0].text.as_deref(), Some("no route"));
        assert_eq!(
            kinds(&timeline.steps[1]),
            [(SpanKind::Running, 1, 70, None)]
        );
        assert_eq!(
            (timeline.steps[0].lines, timeline.steps[0].log[1].1.as_str()),
            (2, "two")
        );
        let [recovery] = timeline.recoveries.as_slice() else {
            panic!("{:?}", timeline.recoveries)
        };
        assert_eq!(
            (recovery.from.as_str(), recovery.to.as_str(), recovery.step),
            ("w1", "w2", Some(0))
        );
        assert_eq!(
            (recovery.last_event_at, recovery.lost, recovery.resumed),
            (at(31), at(50), at(62))
        );
    }

    #[test]
    fn a_recovery_that_waited_for_a_person_names_the_answer() {
        let timeline = timeline(&[
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
            timeline.recoveries[0].answered,
            Some((at(7_200_000), "ann".to_owned()))
        );
    }

    #[test]
    fn a_step_without_history_is_drawn_from_its_row() {
        let plan = Workflow::builder("w")
            .step("a", "x")
            .step("b", "x")
            .build()
            .unwrap();
        let mut run = Run::new(RunId::at(at(0)), Arc::new(plan), Value::Null, at(0), at(0));
        (run.steps[0].status, run.steps[0].attempt) = (StepStatus::Completed, 2);
        (run.steps[0].started_at, run.steps[0].completed_at) = (Some(at(3)), Some(at(8)));
        let timeline = RunTimeline::of(&run, &[]);
        assert_eq!(
            kinds(&timeline.steps[0]),
            [(SpanKind::Completed, 2, 3, Some(8))]
        );
        assert_eq!(kinds(&timeline.steps[1]), []);
    }

    #[test]
    fn the_end_of_a_run_ends_open_spans() {
        let timeline = timeline(&[
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
            kinds(&timeline.steps[0]),
            [(SpanKind::Interrupted, 1, 1, Some(4))]
        );
    }
}
