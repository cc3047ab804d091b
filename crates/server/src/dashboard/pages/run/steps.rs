//! The steps of a run as shown in its timeline, with attempts and waits over time, and all details.

use serde::Serialize;
use surefoot::state::{CancelMode, Undo, Wait};
use surefoot::workflow::OnInterrupt;
use surefoot::{RunStatus, StepPlan, StepState, StepStatus, Timestamp, format_duration};

use super::{MAX_VALUE_LENGTH, Subject};
use crate::dashboard::axis::{Axis, WIDTH};
use crate::dashboard::size_budget::{SizeBudget, size};
use crate::dashboard::step_timeline::{Span, SpanKind, StepTimeline};
use crate::dashboard::text::{Elapsed, Moment, duration, first_line, url};

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
    took: Option<Elapsed>,
    segments: Vec<Segment>,
    cuts: Vec<String>,
    fall_label: String,
    /// True if the budget sufficed for more than a line.
    body: bool,
    /// The address of the complete data, if something was left out.
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
    /// True if the run may be retried from this step.
    retry: bool,
}

#[derive(Serialize)]
struct Say {
    text: String,
    bad: bool,
}

/// A span of time as a rectangle.
#[derive(Serialize)]
struct Segment {
    class: &'static str,
    x: String,
    width: String,
    thin: bool,
    title: String,
}

/// Minimum width; narrower rectangles would be invisible.
const MIN_WIDTH: f64 = 2.0;
/// Size limits of a step's log; a selected step shows more.
const LOG: usize = 3000;
const SELECTED_LOG: usize = 16_000;
/// Number of spans drawn and described, the last ones; and the size of each without its text.
const MAX_SPANS: usize = 40;
const SPAN_SIZE: usize = 200;
/// Size of a step's facts.
const FACTS_SIZE: usize = 1800;

impl Subject<'_> {
    /// The view of a step, as complete as the budget allows.
    pub(super) fn step(
        &self,
        position: usize,
        axis: &Axis,
        budget: &mut SizeBudget,
        selected: bool,
    ) -> StepView {
        let plan = &self.run.plan.steps()[position];
        let state = &self.run.steps[position];
        let timeline = &self.run_timeline.steps[position];
        let (tone, icon, word) = self.appearance(position, state);
        let says = self.says(plan, state, budget);
        let last = self.last_spans(timeline, budget);
        let body = budget.take(FACTS_SIZE);
        let error = state
            .error
            .as_deref()
            .map(|error| budget.fit_in(budget.left() / 3, error.to_owned(), MAX_VALUE_LENGTH));
        let (log, log_note) = self.log(timeline, selected, budget);
        let output = state
            .output
            .as_ref()
            .map(|output| budget.fit(super::pretty_json(output), MAX_VALUE_LENGTH));
        let input = self
            .input(position)
            .map(|input| budget.fit(input, MAX_VALUE_LENGTH));
        let answer = self
            .answer(state)
            .map(|answer| budget.fit(answer, MAX_VALUE_LENGTH));
        let condition = plan
            .condition
            .as_ref()
            .map(|condition| budget.fit(condition.clone(), 500));
        StepView {
            id: plan.id.clone(),
            number: position + 1,
            title: first_line(&plan.title, 200),
            tone,
            icon,
            word,
            open: selected,
            says,
            took: took(state, self.context.now),
            segments: last.iter().map(|span| self.segment(span, axis)).collect(),
            cuts: cuts(last, axis),
            fall_label: self.fall_label(plan, last),
            body,
            whole: budget.cut.then(|| self.whole(plan, selected)),
            action: plan.action.clone(),
            attempts: (state.attempt > 0).then(|| {
                let attempt = state.attempt.to_string();
                let all = plan.retry.attempts.to_string();
                self.context
                    .t("step.attempts_of", &[("attempt", &attempt), ("all", &all)])
            }),
            interruptions: (state.interruptions > 0).then(|| {
                let count = state.interruptions.to_string();
                let most = plan.max_interruptions.to_string();
                let crashes = state.crashes.to_string();
                self.context.t(
                    "step.interruptions_of",
                    &[("count", &count), ("crashes", &crashes), ("most", &most)],
                )
            }),
            started: state.started_at.map(|at| self.context.moment(at)),
            ended: state.completed_at.map(|at| self.context.moment(at)),
            condition,
            timeout: plan.timeout.map(format_duration),
            on_interrupt: self.on_interrupt(plan.on_interrupt),
            error,
            answer,
            log,
            log_note,
            input,
            output,
            spans: last
                .iter()
                .map(|span| self.describe_with_time(span))
                .collect(),
            retry: self.may_retry_from(position),
        }
    }

    /// The address with more about a step: the page with this step selected, or from there the JSON
    /// document.
    fn whole(&self, plan: &StepPlan, selected: bool) -> String {
        let id = self.run.id;
        if selected {
            format!("/api/v1/runs/{id}")
        } else {
            format!("/runs/{id}?step={0}#step-{0}", url(&plan.id))
        }
    }

    /// The last spans that fit, at least one.
    fn last_spans<'a>(&self, timeline: &'a StepTimeline, budget: &mut SizeBudget) -> &'a [Span] {
        let fits = |span: &&Span| budget.take(SPAN_SIZE + 2 * size(&self.describe(span)));
        let count = timeline
            .spans
            .iter()
            .rev()
            .take(MAX_SPANS)
            .take_while(fits)
            .count()
            .max(1);
        &timeline.spans[timeline.spans.len().saturating_sub(count)..]
    }

    /// Returns true for a step that needs attention: an active one, or the one that failed.
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

    fn appearance(
        &self,
        position: usize,
        state: &StepState,
    ) -> (&'static str, &'static str, String) {
        let word = |key: &str| self.context.t(key, &[]);
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

    /// The lines under a step's title.
    fn says(&self, plan: &StepPlan, state: &StepState, budget: &mut SizeBudget) -> Vec<Say> {
        let mut says = Vec::new();
        let mut say = |text: String, bad: bool| {
            says.push(Say {
                text: budget.fit(text, 240),
                bad,
            })
        };
        let t = |key: &str, values: &[(&str, &str)]| self.context.t(key, values);
        if state.status == StepStatus::Failed || state.wait == Some(Wait::Retry) {
            say(
                first_line(state.error.as_deref().unwrap_or_default(), 200),
                true,
            );
        } else if let Some(reason) = state.deferred_for() {
            say(first_line(reason, 200), false);
        } else if state.status != StepStatus::Completed
            && let Some(message) = state.message.as_deref()
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
                .map(|at| self.context.moment(at).text)
                .unwrap_or_default();
            say(t(&format!("step.wait.{wait}"), &[("at", &at)]), false);
        }
        if state.attempt > 1 {
            let attempt = state.attempt.to_string();
            let all = plan.retry.attempts.to_string();
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
        self.context.t(&format!("step.on.{word}"), &[])
    }

    fn answer(&self, state: &StepState) -> Option<String> {
        let answer = state.decision.as_ref().or(state.answer.as_ref())?;
        let text = |name: &str| answer[name].as_str().map(str::to_owned).unwrap_or_default();
        let word = self.context.t(&format!("answer.{}", text("answer")), &[]);
        let note = text("note");
        let key = if note.is_empty() {
            "step.answered"
        } else {
            "step.answered_note"
        };
        Some(self.context.t(
            key,
            &[("answer", &word), ("by", &text("by")), ("note", &note)],
        ))
    }

    /// The input of the step. For a step that has not started, its expressions.
    fn input(&self, position: usize) -> Option<String> {
        let with = &self.run.plan.steps()[position].with;
        if with.is_null() {
            return None;
        }
        let given = self.run.shown_input(position);
        Some(super::pretty_json(given.as_ref().unwrap_or(with)))
    }

    /// The end of the log, and a note on omitted earlier lines.
    fn log(
        &self,
        timeline: &StepTimeline,
        selected: bool,
        budget: &mut SizeBudget,
    ) -> (Option<String>, Option<String>) {
        let mut part = budget.part(if selected { SELECTED_LOG } else { LOG });
        let line = |(attempt, line): &(u64, String)| {
            let line = first_line(line, 400);
            if *attempt > 1 {
                format!("[{attempt}] {line}")
            } else {
                line
            }
        };
        let last = timeline
            .log
            .iter()
            .rev()
            .map(line)
            .take_while(|line| part.take(size(line) + 1));
        let mut lines = last.collect::<Vec<_>>();
        budget.give_back(&part);
        lines.reverse();
        let note = match timeline.lines - lines.len() {
            // Their number is unknown if part of the history was not read.
            _ if self.cut && (selected || !lines.is_empty()) => {
                Some(self.context.t("step.log_cut", &[]))
            }
            0 => None,
            count => Some(
                self.context
                    .t("step.log_more", &[("count", &count.to_string())]),
            ),
        };
        ((!lines.is_empty()).then(|| lines.join("\n")), note)
    }

    fn segment(&self, span: &Span, axis: &Axis) -> Segment {
        let from = axis.x(span.from);
        let to = axis.x(span.to.unwrap_or_else(|| self.end()));
        let width = (to - from).max(MIN_WIDTH);
        Segment {
            class: class(span.kind),
            x: format!("{:.1}", from.min(WIDTH - width)),
            width: format!("{width:.1}"),
            thin: matches!(span.kind, SpanKind::Waiting | SpanKind::Skipped),
            title: self.describe(span),
        }
    }

    fn describe(&self, span: &Span) -> String {
        let took = duration(span.to.unwrap_or_else(|| self.end()).since(span.from));
        let what = self.context.t(
            &format!("span.{}", class(span.kind)),
            &[("attempt", &span.attempt.to_string()), ("took", &took)],
        );
        match &span.text {
            Some(text) => self.context.t(
                "span.because",
                &[("what", &what), ("text", &first_line(text, 200))],
            ),
            None => what,
        }
    }

    fn describe_with_time(&self, span: &Span) -> String {
        let at = self.context.moment(span.from).text;
        self.context
            .t("span.said", &[("at", &at), ("what", &self.describe(span))])
    }

    /// The description of the drawing for screen readers.
    fn fall_label(&self, plan: &StepPlan, spans: &[Span]) -> String {
        let said = spans
            .iter()
            .rev()
            .take(5)
            .rev()
            .map(|span| self.describe(span))
            .collect::<Vec<_>>()
            .join("; ");
        let said = if said.is_empty() {
            self.context.t("span.nothing", &[])
        } else {
            said
        };
        first_line(&format!("{}: {said}", plan.title), 240)
    }
}

/// Time since the start of the step, including waits.
fn took(state: &StepState, now: Timestamp) -> Option<Elapsed> {
    match state.status {
        StepStatus::Pending | StepStatus::Skipped => None,
        _ => Elapsed::between(state.started_at, state.completed_at, now),
    }
}

/// The positions at which attempts were interrupted.
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
