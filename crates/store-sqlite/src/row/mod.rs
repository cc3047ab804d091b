//! Conversion between the engine's values and rows.

mod decode;
mod encode;

pub(crate) use decode::{
    allow_list, count, load_run, optional_word, parse_required, queue_row, record, time,
};
pub(crate) use encode::{RecordRow, Written, entries, json, length, micros, required};
