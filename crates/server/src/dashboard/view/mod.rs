//! Views shared by several pages: a run as a row, a worker, a queue.

mod queue;
mod row;
mod worker;

pub(super) use queue::{QueueView, limit_fields};
pub(super) use row::{RunRow, Tone, asks, name_of, parse_ids, short_id, tone};
pub(super) use worker::WorkerView;

use serde::Serialize;

/// A name with its value.
#[derive(Debug, Serialize)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) value: String,
    /// True if the value is JSON.
    pub(super) code: bool,
    pub(super) masked: bool,
}

/// Links to other pages of a list.
#[derive(Debug, Default, Serialize)]
pub(super) struct Pages {
    pub(super) first: Option<String>,
    pub(super) next: Option<String>,
}

/// A tab above a list.
#[derive(Debug, Serialize)]
pub(super) struct Tab {
    pub(super) href: String,
    pub(super) title: String,
    pub(super) on: bool,
    pub(super) count: Option<String>,
}

/// An option of a switch or list.
#[derive(Debug, Serialize)]
pub(super) struct Choice {
    pub(super) value: &'static str,
    pub(super) title: String,
    pub(super) on: bool,
}

/// A URL that a page may link to. Records may contain anything.
pub(super) fn safe_link(text: &str) -> Option<String> {
    let is_web = text.starts_with("https://") || text.starts_with("http://");
    (is_web && !text.contains(char::is_whitespace)).then(|| text.to_owned())
}
