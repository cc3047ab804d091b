//! Rules of all stores: no name, key or parameter holds a NUL character, no value exceeds
//! [`crate::limits`], and no call brings more than a chunk of a workspace.
//!
//! PostgreSQL keeps no NUL in a text, C programs end theirs with it, and no name has a use for one.
//! A value beyond the limits could be written and never be read again.

use serde_json::Value;

use crate::document::NewDocument;
use crate::limits::check_value;
use crate::state::{RuleError, Transition};
use crate::store::{NewWorker, Submission};
use crate::{CHUNK, Digest, RecordChange, keys, resources};

/// Refuses a text with a NUL in it; `what` says what the text is.
///
/// # Errors
/// The text holds a NUL character.
pub fn refuse_nul(what: &str, text: &str) -> Result<(), RuleError> {
    if text.contains('\0') {
        return Err(RuleError(format!(
            "{what} {text:?} holds a NUL character, which no store keeps: take it out"
        )));
    }
    Ok(())
}

fn refuse_beyond_limits(what: &str, value: &Value) -> Result<(), RuleError> {
    check_value(value).map_err(|limit| RuleError(format!("{what} {limit}")))
}

impl Submission {
    /// Refuses what no store can keep. Every store asks before it writes.
    ///
    /// # Errors
    /// A name or a key that holds a NUL; a key that is empty or too long; parameters beyond the
    /// limits; a resource without a proper name.
    pub fn check(&self) -> Result<(), RuleError> {
        let run = &self.queued.0;
        refuse_beyond_limits("the value of parameters", &run.parameters)?;
        let texts = [
            ("key", &run.key),
            ("unique value", &run.unique),
            ("concurrency key", &run.concurrency_key),
        ];
        texts
            .into_iter()
            .filter_map(|(what, text)| Some((what, text.as_deref()?)))
            .try_for_each(|(what, text)| refuse_nul(&format!("the {what}"), text))?;
        run.key
            .as_deref()
            .map_or(Ok(()), |key| keys::check_key("key", key))?;
        run.concurrency_key
            .as_deref()
            .map_or(Ok(()), |key| keys::check_key("concurrency key", key))?;
        run.unique.as_deref().map_or(Ok(()), keys::check_unique)?;
        resources::check_required(&run.requires)
    }
}

impl Transition {
    /// Refuses what no store can keep. Every store asks before it writes.
    ///
    /// # Errors
    /// A record whose kind or name holds a NUL; an output, checkpoint, answer, record or event
    /// beyond the limits; more than a chunk of contents; a resource without a proper name.
    pub fn check(&self) -> Result<(), RuleError> {
        if let Some(snapshot) = &self.snapshot {
            check_blobs(&snapshot.contents)?;
        }
        for (_, step) in &self.steps {
            for (what, value) in [
                ("output", &step.output),
                ("checkpoint", &step.checkpoint),
                ("answer", &step.answer),
            ] {
                if let Some(value) = value {
                    refuse_beyond_limits(&format!("the step's {what}"), value)?;
                }
            }
        }
        for event in &self.events {
            refuse_beyond_limits("the event's data", &event.data)?;
        }
        self.records.iter().try_for_each(|change| {
            let (RecordChange::Put { kind, name, .. } | RecordChange::Remove { kind, name }) =
                change;
            refuse_nul("the record's kind", kind)?;
            refuse_nul("the record's name", name)?;
            match change {
                RecordChange::Put { data, .. } => {
                    refuse_beyond_limits(&format!("the {kind} record `{name}`"), data)
                }
                RecordChange::Remove { .. } => Ok(()),
            }
        })?;
        self.requires
            .as_ref()
            .map_or(Ok(()), resources::check_required)
    }
}

impl NewWorker {
    /// Refuses what no store can keep. Every store asks before it writes.
    ///
    /// # Errors
    /// A name or version that holds a NUL, or a resource without a proper name.
    pub fn check(&self) -> Result<(), RuleError> {
        refuse_nul("the worker's name", &self.name)?;
        refuse_nul("the worker's version", &self.version)?;
        resources::check_offered(&self.resources)
    }
}

/// Refuses more contents than one call may take to a store.
///
/// # Errors
/// They have more than [`CHUNK`] bytes in all.
pub fn check_blobs(blobs: &[(Digest, Vec<u8>)]) -> Result<(), RuleError> {
    let size: usize = blobs.iter().map(|(_, content)| content.len()).sum();
    if size <= CHUNK {
        return Ok(());
    }
    Err(RuleError(format!(
        "the contents of a snapshot are sent {} KiB at a time, not {} KiB",
        CHUNK >> 10,
        size >> 10
    )))
}

impl NewDocument {
    /// Refuses what no store can keep. Every store asks before it writes.
    ///
    /// # Errors
    /// A kind or id that holds a NUL; content beyond the limits.
    pub fn check(&self) -> Result<(), RuleError> {
        refuse_beyond_limits("the document", &self.data)?;
        refuse_nul("the document's kind", &self.kind)?;
        refuse_nul("the document's id", &self.id)
    }
}

/// Returns the path of a text or name in a JSON value that holds a NUL: `environments/0/name`, or
/// an empty path for the value itself.
pub(crate) fn places(value: &Value) -> Vec<String> {
    let within = |name: String, value: &Value| -> Vec<String> {
        let inside = |place: String| {
            if place.is_empty() {
                name.clone()
            } else {
                format!("{name}/{place}")
            }
        };
        places(value).into_iter().map(inside).collect()
    };
    match value {
        Value::String(text) if text.contains('\0') => vec![String::new()],
        Value::Array(items) => items
            .iter()
            .enumerate()
            .flat_map(|(index, item)| within(index.to_string(), item))
            .collect(),
        Value::Object(fields) => {
            let place = |name: &String| name.escape_debug().to_string();
            let field = |(name, value): (&String, &Value)| {
                if name.contains('\0') {
                    vec![place(name)]
                } else {
                    within(place(name), value)
                }
            };
            fields.iter().flat_map(field).collect()
        }
        _ => Vec::new(),
    }
}
