//! How messages are written on the wire.

use axum::body::Bytes;
use serde_json::{Value, json};
use surefoot::{Event, Run};

use crate::api::view::{EventView, RunDetail};

/// How soon a browser comes back, in milliseconds.
pub(super) const COME_BACK: &str = "retry: 1000\n\n";

/// What is sent when there is nothing to say, so that whoever stands between does not close the connection.
pub(super) const STILL_HERE: &str = ": still here\n\n";

/// One message. JSON has no line breaks of its own.
pub(super) fn message(id: Option<u64>, event: &str, data: &Value) -> Bytes {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("{id}event: {event}\ndata: {data}\n\n").into()
}

/// The run as it is after event number `seq`, or later.
pub(super) fn snapshot(run: &Run, seq: u64) -> Bytes {
    let mut data = serde_json::to_value(RunDetail::of(run, None)).unwrap_or_default();
    data["seq"] = seq.into();
    message(Some(seq), "snapshot", &data)
}

/// What happened, and how the run stands.
pub(super) fn change(event: &Event, run: &Run) -> Bytes {
    let mut data = serde_json::to_value(EventView::of(event)).unwrap_or_default();
    data["run"] = json!({ "status": run.head.status.as_str(), "progress": run.head.progress });
    message(Some(event.seq), "change", &data)
}

/// The run has ended and all was said.
pub(super) fn end(run: &Run) -> Bytes {
    message(None, "end", &json!({ "status": run.head.status.as_str() }))
}
