//! Conversion of runs and attempts into spans.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Event, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator as _, RandomIdGenerator, SpanData, SpanEvents, SpanLinks,
};
use surefoot::metrics::{AttemptOutcome, AttemptReport};
use surefoot::{Run, RunId, RunStatus, Timestamp};

/// The run's id is a UUID of version 7 with 74 random bits, as good as a random trace id.
fn trace_of(run: RunId) -> TraceId {
    TraceId::from_bytes(*run.as_bytes())
}

/// Id of a run's root span: every worker can compute it before the span is sent. The variant bits
/// of the UUID keep it from being zero.
fn root_of(run: RunId) -> SpanId {
    let mut half = [0; 8];
    half.copy_from_slice(&run.as_bytes()[8..]);
    SpanId::from_bytes(half)
}

/// Span of the whole run, from its submission to its end.
pub(crate) fn of_run(run: &Run) -> SpanData {
    let end = run.head.completed_at.unwrap_or(run.created_at);
    let mut attributes = attributes_of(run);
    attributes.push(KeyValue::new(
        "surefoot.run.status",
        run.head.status.as_str(),
    ));
    let interruptions: u32 = run.steps.iter().map(|step| step.interruptions).sum();
    attributes.push(KeyValue::new(
        "surefoot.run.interruptions",
        i64::from(interruptions),
    ));
    let started = run
        .head
        .started_at
        .map(|at| Event::new("started", time(at), Vec::new(), 0));
    SpanData {
        status: match run.head.status {
            RunStatus::Completed => Status::Ok,
            RunStatus::Failed => Status::error(run.head.error.clone().unwrap_or_default()),
            _ => Status::Unset,
        },
        events: events(started),
        ..span(
            run.id,
            root_of(run.id),
            SpanId::INVALID,
            name(run.plan.name()),
            run.created_at,
            end,
            attributes,
        )
    }
}

/// Span of one attempt of a step.
pub(crate) fn of_attempt(report: &AttemptReport<'_>) -> SpanData {
    let run = report.run;
    let position = report.position;
    let plan = &run.plan.steps()[position];
    let state = &run.steps[position];
    let mut attributes = attributes_of(run);
    attributes.extend([
        KeyValue::new("surefoot.step.id", plan.id.clone()),
        KeyValue::new("surefoot.step.action", plan.action.clone()),
        KeyValue::new("surefoot.step.attempt", i64::from(state.attempt)),
        KeyValue::new(
            "surefoot.step.interruptions",
            i64::from(state.interruptions),
        ),
        KeyValue::new("surefoot.attempt.outcome", report.outcome.as_str()),
    ]);
    let said = report.error.clone().unwrap_or_default();
    let failed = report.error.clone().map(|error| {
        Event::new(
            "exception",
            time(report.ended_at),
            vec![KeyValue::new("exception.message", error)],
            0,
        )
    });
    let own = RandomIdGenerator::default().new_span_id();
    SpanData {
        status: match report.outcome {
            AttemptOutcome::Completed => Status::Ok,
            AttemptOutcome::Failed => Status::error(said),
            AttemptOutcome::Lost => Status::error("the lease was lost"),
            AttemptOutcome::Suspended | AttemptOutcome::Cancelled | AttemptOutcome::Interrupted => {
                Status::Unset
            }
        },
        events: events(failed),
        ..span(
            run.id,
            own,
            root_of(run.id),
            name(&plan.id),
            report.started_at,
            report.ended_at,
            attributes,
        )
    }
}

fn attributes_of(run: &Run) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("surefoot.run.id", run.id.to_string()),
        KeyValue::new("surefoot.workflow", run.plan.name().to_owned()),
        KeyValue::new("surefoot.queue", run.queue().to_owned()),
    ];
    attributes.extend(
        run.key
            .as_ref()
            .map(|key| KeyValue::new("surefoot.run.key", key.clone())),
    );
    attributes
}

fn span(
    run: RunId,
    own: SpanId,
    parent: SpanId,
    name: Cow<'static, str>,
    start: Timestamp,
    end: Timestamp,
    attributes: Vec<KeyValue>,
) -> SpanData {
    let scope = InstrumentationScope::builder("surefoot")
        .with_version(env!("CARGO_PKG_VERSION"))
        .build();
    SpanData {
        span_context: SpanContext::new(
            trace_of(run),
            own,
            TraceFlags::SAMPLED,
            false,
            TraceState::default(),
        ),
        parent_span_id: parent,
        // Another worker may be the one that sends the root.
        parent_span_is_remote: parent != SpanId::INVALID,
        span_kind: SpanKind::Internal,
        name,
        start_time: time(start),
        end_time: time(end),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope,
    }
}

fn name(text: &str) -> Cow<'static, str> {
    Cow::Owned(text.to_owned())
}

fn events(event: Option<Event>) -> SpanEvents {
    let mut events = SpanEvents::default();
    events.events.extend(event);
    events
}

fn time(at: Timestamp) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(u64::try_from(at.as_micros()).unwrap_or(0))
}
