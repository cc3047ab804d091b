//! Every action, named by a workflow file and run by a real worker: real commands, real git, a real
//! server.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod check;
mod command;
mod crash;
mod files;
mod git;
mod http;
mod left_behind;
mod waits;
mod world;
