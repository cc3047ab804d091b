//! The steps of a run as its timeline draws them: each with its attempts and waits over time, and all there is to know.

use serde::Serialize;
use surefoot::state::{CancelMode, Undo, Wait};
use surefoot::workflow::OnInterrupt;
use surefoot::{
    RunStatus, Scope, StepPlan, StepState, StepStatus, Timestamp, format_duration, render_value,
};

use super::{LONGEST, Subject};
use crate::dashboard::axis::{Axis, WIDTH};
use crate::dashboard::course::{Span, SpanKind, StepCourse};
use crate::dashboard::room::{Room, size};
use crate::dashboard::text::{Moment, Took, duration, first_line, url};

#[derive(Serialize)]
pub(super) struct StepView {
    id: String,
    number: usize,
    title: String,
    tone: &'static str,
    icon: &'static str,
    word: String,
    open: bool,
    says: Vec<Say>,
    took: Option<Took>,
    segments: Vec<Segment>,
    cuts: Vec<String>,
    fall_label: String,
    /// Whether there was room for more than its line.
    body: bool,
    /// Where all of it is, when something was left out.
    whole: Option<String>,
    action: String,
    attempts: Option<String>,
    interruptions: Option<String>,
    started: Option<Moment>,
    ended: Option<Moment>,
    condition: Option<String>,
    timeout: Option<String>,
    on_interrupt: String,
    error: Option<String>,
    answer: Option<String>,
    log: Option<String>,
    log_note: Option<String>,
    input: Option<String>,
    output: Option<String>,
    spans: Vec<String>,
    /// Whether the run may be retried from here.
    retry: bool,
}

#[derive(Serialize)]
struct Say {
    text: String,
    bad: bool,
}

/// A stretch of time as a rectangle.
#[derive(Serialize)]
struct Segment {
    class: &'static str,
    x: String,
    width: String,
    thin: bool,
    title: String,
}

/// Narrower is not seen.
const NARROWEST: f64 = 2.0;
/// Bytes of a log that a page shows: more of the step that people look at.
const LOG: usize = 3000;
const LOG_LOOKED_AT: usize = 16_000;
/// Stretches that are drawn and told: the last ones. What each takes of the page beside its text.
const SPANS: usize = 40;
const SPAN: usize = 200;
/// What the facts of a step take of the page.
const FACTS: usize = 1800;

impl Subject<'_> {
    /// A step, told as far as there is room.
    pub(super) fn step(
        &self,
        position: usize,
        axis: &Axis,
        scope: &Scope,
        room: &mut Room,
        looked_at: bool,
    ) -> StepView {
        let (plan, state, course) = (
            &self.run.plan.steps()[position],
            &self.run.steps[position],
            &self.course.steps[position],
        );
        let (tone, icon, word) = self.look(position, state);
        let says = self.says(plan, state, room);
        let last = self.last_spans(course, room);
        let body = room.take(FACTS);
        let error = state
            .error
            .as_deref()
            .map(|error| room.fit_in(room.left() / 3, error.to_owned(), LONGEST));
        let (log, log_note) = self.log(course, looked_at, room);
        let output = state
            .output
            .as_ref()
            .map(|output| room.fit(super::written(output), LONGEST));
        let input = self
            .input(plan, state, scope)
            .map(|input| room.fit(input, LONGEST));
        let answer = self.answer(state).map(|answer| room.fit(answer, LONGEST));
        let condition = plan
            .condition
            .as_ref()
            .map(|condition| room.fit(condition.clone(), 500));
        StepView {
            id: plan.id.clone(),
            number: position + 1,
            title: first_line(&plan.title, 200),
            tone,
            icon,
            word,
            open: looked_at,
            says,
            took: took(state, self.visitor.now),
            segments: last.iter().map(|span| self.segment(span, axis)).collect(),
            cuts: cuts(last, axis),
            fall_label: self.fall_label(plan, last),
            body,
            whole: room.cut.then(|| self.whole(plan, looked_at)),
            action: plan.action.clone(),
            attempts: (state.attempt > 0).then(|| {
                let (attempt, all) = (state.attempt.to_string(), plan.retry.attempts.to_string());
                self.visitor
                    .t("step.attempts_of", &[("attempt", &attempt), ("all", &all)])
            }),
            interruptions: (state.interruptions > 0).then(|| {
                let (count, most) = (
                    state.interruptions.to_string(),
                    plan.max_interruptions.to_string(),
                );
                let crashes = state.crashes.to_string();
                self.visitor.t(
                    "step.interruptions_of",
                    &[("count", &count), ("crashes", &crashes), ("most", &most)],
                )
            }),
            started: state.started_at.map(|at| self.visitor.moment(at)),
            ended: state.completed_at.map(|at| self.visitor.moment(at)),
            condition,
            timeout: plan.timeout.map(format_duration),
            on_interrupt: self.on_interrupt(plan.on_interrupt),
            error,
            answer,
            log,
            log_note,
            input,
            output,
            spans: last.iter().map(|span| self.told(span)).collect(),
            retry: self.may_retry_from(position),
        }
    }

    /// Where more of a step is told: on the page that looks at it, and where even that has too little room, as a document.
    fn whole(&self, plan: &StepPlan, looked_at: bool) -> String {
        let id = self.run.id;
        if looked_at {
            format!("/api/v1/runs/{id}")
        } else {
            format!("/runs/{id}?step={0}#step-{0}", url(&plan.id))
        }
    }

    /// The last stretches, one at least.
    fn last_spans<'a>(&self, course: &'a StepCourse, room: &mut Room) -> &'a [Span] {
        let fits = |span: &&Span| room.take(SPAN + 2 * size(&self.said(span)));
        let count = course
            .spans
            .iter()
            .rev()
            .take(SPANS)
            .take_while(fits)
            .count()
            .max(1);
        &course.spans[course.spans.len().saturating_sub(count)..]
    }

    /// The step that people look at: the one under way, or the one that failed.
    pub(super) fn is_current(&self, position: usize) -> bool {
        let state = &self.run.steps[position];
        let under_way = matches!(state.status, StepStatus::Running | StepStatus::Waiting);
        let failed =
            state.status == StepStatus::Failed && self.run.head.status == RunStatus::Failed;
        under_way || failed
    }

    fn may_retry_from(&self, position: usize) -> bool {
        let reached = self.run.next_step().unwrap_or(0);
        let undoing = self.run.head.cancel == Some(CancelMode::Undo);
        self.run.head.status == RunStatus::Failed && !undoing && position <= reached
    }

    fn look(&self, position: usize, state: &StepState) -> (&'static str, &'static str, String) {
        let word = |key: &str| self.visitor.t(key, &[]);
        if state.undo == Some(Undo::Done) {
            return ("undone", "undo", word("status.undone"));
        }
        if state.undo == Some(Undo::Kept) {
            return ("undone", "undo", word("status.kept"));
        }
        if self.run.asks().is_some_and(|(asks, _)| asks == position) {
            return ("asking", "ask", word("status.asking"));
        }
        let status = state.status.as_str();
        (status, status, word(&format!("status.{status}")))
    }

    /// What stands under a step's title.
    fn says(&self, plan: &StepPlan, state: &StepState, room: &mut Room) -> Vec<Say> {
        let mut says = Vec::new();
        let mut say = |text: String, bad: bool| {
            says.push(Say {
                text: room.fit(text, 240),
                bad,
            })
        };
        let t = |key: &str, values: &[(&str, &str)]| self.visitor.t(key, values);
        if state.status == StepStatus::Failed || state.wait == Some(Wait::Retry) {
            say(
                first_line(state.error.as_deref().unwrap_or_default(), 200),
                true,
            );
        } else if let Some(reason) = state.deferred_for() {
            say(first_line(reason, 200), false);
        } else if let Some(message) = state
            .message
            .as_deref()
            .filter(|_| state.status != StepStatus::Completed)
        {
            say(first_line(message, 200), false);
        }
        if let Some(note) = &state.undo_note {
            let key = if state.undo == Some(Undo::Kept) {
                "step.say.kept"
            } else {
                "step.say.removed"
            };
            say(t(key, &[("note", &first_line(note, 200))]), false);
        }
        if let Some(wait) = state.wait {
            let at = self
                .run
                .head
                .available_at
                .map(|at| self.visitor.moment(at).text)
                .unwrap_or_default();
            say(t(&format!("step.wait.{wait}"), &[("at", &at)]), false);
        }
        if state.attempt > 1 {
            let (attempt, all) = (state.attempt.to_string(), plan.retry.attempts.to_string());
            say(
                t("step.say.attempt", &[("attempt", &attempt), ("all", &all)]),
                false,
            );
        }
        if state.interruptions > 0 {
            say(
                t(
                    "step.say.interrupted",
                    &[("count", &state.interruptions.to_string())],
                ),
                false,
            );
        }
        match state.isolation_limit() {
            Some(1) => say(t("step.say.alone", &[]), false),
            Some(limit) => say(
                t("step.say.isolated", &[("limit", &limit.to_string())]),
                false,
            ),
            None => {}
        }
        says
    }

    fn on_interrupt(&self, policy: OnInterrupt) -> String {
        let word = match policy {
            OnInterrupt::Rerun => "rerun",
            OnInterrupt::Ask => "ask",
            OnInterrupt::Fail => "fail",
        };
        self.visitor.t(&format!("step.on.{word}"), &[])
    }

    fn answer(&self, state: &StepState) -> Option<String> {
        let answer = state.decision.as_ref().or(state.answer.as_ref())?;
        let text = |name: &str| answer[name].as_str().map(str::to_owned).unwrap_or_default();
        let word = self.visitor.t(&format!("answer.{}", text("answer")), &[]);
        let note = text("note");
        let key = if note.is_empty() {
            "step.answered"
        } else {
            "step.answered_note"
        };
        Some(self.visitor.t(
            key,
            &[("answer", &word), ("by", &text("by")), ("note", &note)],
        ))
    }

    /// What the step was given; for one that has not begun, as far as it is known.
    fn input(&self, plan: &StepPlan, state: &StepState, scope: &Scope) -> Option<String> {
        if plan.with.is_null() {
            return None;
        }
        let given = if state.started_at.is_some() {
            render_value(&plan.with, scope).ok()
        } else {
            None
        };
        Some(super::written(given.as_ref().unwrap_or(&plan.with)))
    }

    /// The end of the log, and a word on the lines before it that are left out.
    fn log(
        &self,
        course: &StepCourse,
        looked_at: bool,
        room: &mut Room,
    ) -> (Option<String>, Option<String>) {
        let mut part = room.part(if looked_at { LOG_LOOKED_AT } else { LOG });
        let line = |(attempt, line): &(u64, String)| {
            let line = first_line(line, 400);
            if *attempt > 1 {
                format!("[{attempt}] {line}")
            } else {
                line
            }
        };
        let last = course
            .log
            .iter()
            .rev()
            .map(line)
            .take_while(|line| part.take(size(line) + 1));
        let mut lines = last.collect::<Vec<_>>();
        room.give(&part);
        lines.reverse();
        let note = match course.lines - lines.len() {
            // Nobody has counted those of the history that was not read.
            _ if self.cut && (looked_at || !lines.is_empty()) => {
                Some(self.visitor.t("step.log_cut", &[]))
            }
            0 => None,
            count => Some(
                self.visitor
                    .t("step.log_more", &[("count", &count.to_string())]),
            ),
        };
        ((!lines.is_empty()).then(|| lines.join("\n")), note)
    }

    fn segment(&self, span: &Span, axis: &Axis) -> Segment {
        let (from, to) = (
            axis.x(span.from),
            axis.x(span.to.unwrap_or_else(|| self.end())),
        );
        let width = (to - from).max(NARROWEST);
        Segment {
            class: class(span.kind),
            x: format!("{:.1}", from.min(WIDTH - width)),
            width: format!("{width:.1}"),
            thin: matches!(span.kind, SpanKind::Waiting | SpanKind::Skipped),
            title: self.said(span),
        }
    }

    fn said(&self, span: &Span) -> String {
        let took = duration(span.to.unwrap_or_else(|| self.end()).since(span.from));
        let what = self.visitor.t(
            &format!("span.{}", class(span.kind)),
            &[("attempt", &span.attempt.to_string()), ("took", &took)],
        );
        match &span.text {
            Some(text) => self.visitor.t(
                "span.because",
                &[("what", &what), ("text", &first_line(text, 200))],
            ),
            None => what,
        }
    }

    fn told(&self, span: &Span) -> String {
        let at = self.visitor.moment(span.from).text;
        self.visitor
            .t("span.said", &[("at", &at), ("what", &self.said(span))])
    }

    /// What a screen reader says of the drawing.
    fn fall_label(&self, plan: &StepPlan, spans: &[Span]) -> String {
        let said = spans
            .iter()
            .rev()
            .take(5)
            .rev()
            .map(|span| self.said(span))
            .collect::<Vec<_>>()
            .join("; ");
        let said = if said.is_empty() {
            self.visitor.t("span.nothing", &[])
        } else {
            said
        };
        first_line(&format!("{}: {said}", plan.title), 240)
    }
}

/// How long the step has been under way, waits included.
fn took(state: &StepState, now: Timestamp) -> Option<Took> {
    match state.status {
        StepStatus::Pending | StepStatus::Skipped => None,
        _ => Took::between(state.started_at, state.completed_at, now),
    }
}

/// Where attempts were cut off.
fn cuts(spans: &[Span], axis: &Axis) -> Vec<String> {
    let cut = spans
        .iter()
        .filter(|span| span.kind == SpanKind::Interrupted)
        .filter_map(|span| span.to);
    cut.map(|at| format!("{:.1}", axis.x(at).clamp(1.0, WIDTH - 1.0)))
        .collect()
}

const fn class(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Running => "running",
        SpanKind::Completed => "completed",
        SpanKind::Failed => "failed",
        SpanKind::Interrupted => "interrupted",
        SpanKind::Waiting => "waiting",
        SpanKind::Skipped => "skipped",
        SpanKind::Undo => "undo",
    }
}
