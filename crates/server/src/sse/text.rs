//! The wire format of messages.

use axum::body::Bytes;
use serde_json::{Value, json};
use surefoot::{Event, Run};

use crate::api::view::{EventView, RunDetail};

/// Asks the browser to reconnect after this many milliseconds.
pub(super) const RECONNECT: &str = "retry: 1000\n\n";

/// Keep-alive comment, so that intermediaries do not close an idle connection.
pub(super) const KEEP_ALIVE: &str = ": still here\n\n";

/// Formats a message. JSON contains no line breaks.
pub(super) fn message(id: Option<u64>, event: &str, data: &Value) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n").into()
}

/// The run as of event `seq` or later.
pub(super) fn snapshot(run: &Run, seq: u64) -> Bytes {
    let mut data = serde_json::to_value(RunDetail::of(run, None)).unwrap_or_default();
    data["seq"] = seq.into();
    message(Some(seq), "snapshot", &data)
}

/// An event, and the state of the run.
pub(super) fn change(event: &Event, run: &Run) -> Bytes {
    let mut data = serde_json::to_value(EventView::of(event)).unwrap_or_default();
    data["run"] = json!({ "status": run.head.status.as_str(), "progress": run.head.progress });
    message(Some(event.seq), "change", &data)
}

/// The run has ended; no message follows.
pub(super) fn end(run: &Run) -> Bytes {
    message(None, "end", &json!({ "status": run.head.status.as_str() }))
}
