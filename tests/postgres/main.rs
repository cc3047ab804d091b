//! Many workers on a real PostgreSQL: the real binary, killed at every write; its database killed,
//! refusing and away; clocks that step and silent connections; a pooler in between; several
//! processes under the limits of one queue; servers.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]

#[path = "../common/mod.rs"]
#[expect(
    dead_code,
    reason = "each test binary uses its part of what they share"
)]
mod common;

mod clocks;
mod configured;
mod crash;
mod failover;
mod forge;
mod ledger;
mod outage;
mod pooler;
mod proxy;
mod secrets;
mod serve;
mod several;
mod silence;
mod takeover;
