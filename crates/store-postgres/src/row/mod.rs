//! Conversion between the engine's values and rows.

mod decode;
mod encode;

pub(crate) use decode::{
    RunRow, StepStates, count, event_rows, get, of_runs, optional_time, optional_word, queue_row,
    record, run_id, steps_of, time, word, worker_id,
};
pub(crate) use encode::{
    Heads, RecordRow, Steps, Written, clean, json, length, micros, signed, uuid,
};
