//! Every action, named by a workflow file and run by a real worker: real commands, real git, a real server.

mod check;
mod command;
mod crash;
mod files;
mod git;
mod http;
mod waits;
mod world;
