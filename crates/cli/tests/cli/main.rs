//! The command line as its users meet it: the real binary, its exit statuses and what it prints.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(
    clippy::unwrap_used,
    reason = "a test that meets what it does not expect fails there"
)]

mod allow;
mod bad_input;
mod bullmq;
mod commands;
mod doctor;
mod doctor_postgres;
mod dry_run;
mod forge;
mod full_disk;
mod json;
mod place;
#[path = "../../../../tests/common/port.rs"]
mod port;
mod readers;
mod secrets;
mod shortage;
mod signals;
mod takeover;
mod templates;
mod unreadable;
mod workflow_files;
