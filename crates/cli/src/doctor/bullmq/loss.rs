//! Writes that would be lost if the server died now.

use std::time::Duration;

use surefoot_doctor::Finding;
use surefoot_doctor::text::{count, time};

use super::facts::Queue;
use super::server::Server;

/// The unfinished jobs of all queues that were looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unfinished {
    all: u64,
    since_save: u64,
    more: bool,
}

impl Unfinished {
    /// Adds those of a queue.
    pub(super) fn add(&mut self, queue: &Queue) {
        self.all += queue.unfinished;
        self.since_save += queue.since_save;
        self.more |= !queue.all_seen;
    }
}

/// Two answers: the process is killed; the power is cut.
pub(super) fn judge(server: &Server, unfinished: &Unfinished) -> Vec<Finding> {
    vec![killed(server, unfinished), power_cut(server, unfinished)]
}

fn killed(server: &Server, unfinished: &Unfinished) -> Finding {
    const SUBJECT: &str = "if killed now";
    match (server.aof, server.fsync.as_deref()) {
        (false, _) => without_log(SUBJECT, server, unfinished),
        // It answers at once and writes when the sync before has ended, or after two seconds:
        // `flushAppendOnlyFile` in Redis' aof.c.
        (true, Some("everysec")) => {
            let found = "nothing acknowledged is lost, unless the disk is slow just then";
            let means =
                "while a sync is under way the log stays in the server's memory, for up to 2 s";
            Finding::note(SUBJECT, found, means).advice("appendfsync always")
        }
        (true, _) => {
            let means = "the log was handed to the system before the reply";
            Finding::ok(SUBJECT, "nothing acknowledged is lost", means)
        }
    }
}

fn power_cut(server: &Server, unfinished: &Unfinished) -> Finding {
    const SUBJECT: &str = "if power fails now";
    match (server.aof, server.fsync.as_deref()) {
        (false, _) => without_log(SUBJECT, server, unfinished),
        (true, Some("always")) => Finding::ok(
            SUBJECT,
            "nothing acknowledged is lost",
            "it is on the disk, if that is honest",
        ),
        (true, Some("everysec")) => last_seconds(SUBJECT, "up to 1 s", server, unfinished),
        (true, Some("no")) => last_seconds(SUBJECT, "up to some 30 s", server, unfinished),
        (true, _) => Finding::unknown(SUBJECT, "appendfsync is not shown"),
    }
}

fn last_seconds(subject: &str, span: &str, server: &Server, unfinished: &Unfinished) -> Finding {
    let found = format!(
        "{span} of acknowledged writes, at {} commands/s now; {}",
        server.commands_per_second,
        listed(unfinished)
    );
    let means = "jobs added in that time are gone for ever; those that moved on in it begin again from where they were";
    Finding::broken(subject, found, means)
        .advice("appendfsync always, or keep what was submitted in a database")
}

/// Everything since the last snapshot, or since the start of a server that never made one.
fn without_log(subject: &str, server: &Server, unfinished: &Unfinished) -> Finding {
    let age = Duration::from_secs(u64::try_from(server.now - server.last_save).unwrap_or_default());
    let never = server
        .saves
        .map_or(server.uptime <= age.as_secs() + 1, |saves| saves == 0);
    let since = if never {
        "no snapshot since it started"
    } else {
        "last snapshot"
    };
    let found = format!(
        "{} since then ({since}, {} ago): {} of {} added after it",
        count(server.changes, "change"),
        time(age),
        count(unfinished.since_save, "job"),
        listed(unfinished)
    );
    if server.changes == 0 {
        return Finding::note(
            subject,
            found,
            "nothing has changed since; the next job that is added would be lost",
        )
        .advice("appendonly yes");
    }
    let means = "these jobs are gone for ever, and those that moved on since then go back to where they were";
    Finding::broken(subject, found, means).advice("appendonly yes and appendfsync always")
}

fn listed(unfinished: &Unfinished) -> String {
    let least = if unfinished.more { "at least " } else { "" };
    format!("{least}{} unfinished", unfinished.all)
}
