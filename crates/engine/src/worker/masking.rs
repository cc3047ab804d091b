//! Masking of secrets in all that a driver writes: outputs, errors, log lines, records and events.

use serde_json::Value;

use crate::mask::{Lines, Mask};
use crate::state::{StepState, Transition};
use crate::{NewEvent, RecordChange, Run};

/// Bytes of text that are masked on the async thread; more goes to a blocking thread.
const MASKED_INLINE: usize = 64 << 10;

/// Event fields that the engine writes and reads back; they hold no text of a step.
const FACTS: [&str; 4] = ["worker", "until", "available_at", "at"];

/// Masks the changes of one run, in their order.
#[derive(Clone)]
pub(super) struct Masking {
    mask: Mask,
    log: Lines,
}

impl Masking {
    pub(super) fn new(mask: Mask) -> Self {
        Self {
            log: Lines::new(mask.clone()),
            mask,
        }
    }

    pub(super) fn mask(&self) -> &Mask {
        &self.mask
    }

    /// Masks the secrets in a transition and in the run as it is after it.
    pub(super) async fn apply(&mut self, run: Run, transition: Transition) -> (Run, Transition) {
        self.mask.prepare().await;
        if self.mask.is_empty() && !mentions_address(&transition) {
            return (run, transition);
        }
        if size(&transition) <= MASKED_INLINE {
            return self.masked(run, transition);
        }
        let mut masking = self.clone();
        let given = (run.clone(), transition.clone());
        match tokio::task::spawn_blocking(move || (masking.masked(given.0, given.1), masking)).await
        {
            Ok((masked, masking)) => {
                *self = masking;
                masked
            }
            // The runtime is shutting down; nothing is written unmasked.
            Err(_) => self.masked(run, transition),
        }
    }

    fn masked(&mut self, mut run: Run, mut transition: Transition) -> (Run, Transition) {
        transition.head.error = transition.head.error.map(|error| self.mask.message(error));
        run.head.error.clone_from(&transition.head.error);
        for (position, step) in &mut transition.steps {
            self.step(step);
            run.steps[*position].clone_from(step);
        }
        transition.events = transition
            .events
            .into_iter()
            .map(|event| self.event(event))
            .collect();
        transition.records = transition
            .records
            .into_iter()
            .map(|record| self.record(record))
            .collect();
        (run, transition)
    }

    fn step(&self, step: &mut StepState) {
        step.message = step
            .message
            .take()
            .map(|message| self.mask.message(message));
        step.error = step.error.take().map(|error| self.mask.message(error));
        step.undo_note = step.undo_note.take().map(|note| self.mask.message(note));
        step.output = step.output.take().map(|output| self.mask.value(output));
        step.checkpoint = step
            .checkpoint
            .take()
            .map(|checkpoint| self.mask.value(checkpoint));
    }

    fn event(&mut self, event: NewEvent) -> NewEvent {
        let Value::Object(fields) = event.data else {
            return event;
        };
        let data = fields.into_iter().map(|(name, field)| match field {
            Value::String(text) if !FACTS.contains(&name.as_str()) => {
                (name, self.mask.message(text).into())
            }
            Value::Array(lines) if name == "lines" => (
                name,
                lines.into_iter().map(|line| self.line(line)).collect(),
            ),
            Value::Array(_) | Value::Object(_) => (name, self.mask.value(field)),
            fact => (name, fact),
        });
        NewEvent {
            data: data.collect(),
            ..event
        }
    }

    fn line(&mut self, line: Value) -> Value {
        match line {
            Value::String(line) => self.log.mask(line).into(),
            other => other,
        }
    }

    fn record(&self, record: RecordChange) -> RecordChange {
        match record {
            RecordChange::Put { kind, name, data } => RecordChange::Put {
                kind,
                name: self.mask.message(name),
                data: self.mask.value(data),
            },
            remove => remove,
        }
    }
}

/// Returns true if a message holds a URL, whose user and password must not reach the store.
fn mentions_address(transition: &Transition) -> bool {
    let texts = transition.steps.iter().flat_map(|(_, step)| {
        let texts = [&step.message, &step.error, &step.undo_note];
        texts.into_iter().filter_map(Option::as_deref)
    });
    let mut texts = texts.chain(transition.head.error.as_deref());
    texts.any(|text| text.contains("://"))
        || transition
            .events
            .iter()
            .any(|event| holds_address(&event.data))
}

fn holds_address(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("://"),
        Value::Array(items) => items.iter().any(holds_address),
        Value::Object(fields) => fields.values().any(holds_address),
        _ => false,
    }
}

/// Estimates the bytes of text in a transition.
fn size(transition: &Transition) -> usize {
    let values = transition
        .steps
        .iter()
        .flat_map(|(_, step)| [&step.output, &step.checkpoint])
        .flatten();
    let events = transition.events.iter().map(|event| &event.data);
    let records = transition.records.iter().filter_map(|record| match record {
        RecordChange::Put { data, .. } => Some(data),
        RecordChange::Remove { .. } => None,
    });
    values.chain(events).chain(records).map(size_of_value).sum()
}

fn size_of_value(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size_of_value).sum(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| name.len() + size_of_value(field))
            .sum(),
        _ => 1,
    }
}
