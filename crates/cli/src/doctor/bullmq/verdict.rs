//! Findings from the state of a queue.

use surefoot_doctor::text::{count, some};
use surefoot_doctor::{Finding, Level};

use super::facts::Queue;

/// A server without queues.
pub(super) fn no_queue(prefix: &str) -> Finding {
    Finding::note(
        "queues",
        format!("no queue with the prefix `{prefix}`"),
        "there are no jobs to look at",
    )
    .advice("--prefix names another prefix, --queue a queue")
}

/// A queue.
pub(super) fn judge(queue: &Queue) -> Vec<Finding> {
    let subject = format!("queue {}", queue.name);
    if !queue.exists {
        let found = "there is no key of it";
        return vec![
            Finding::warn(&subject, found, "no job was ever added, or all were lost")
                .advice("see its name"),
        ];
    }
    let mut findings = vec![state(&subject, queue), recovery(&subject, queue)];
    findings.extend(stalled(&subject, queue));
    findings.extend(orphaned(&subject, queue));
    findings.extend(unlisted(&subject, queue));
    if findings.iter().all(|finding| finding.level < Level::Warn) {
        findings.push(consistent(&subject, queue));
    }
    findings
}

fn state(subject: &str, queue: &Queue) -> Finding {
    let counts = &queue.counts;
    let mut parts = vec![
        format!("{} waiting", counts.waiting + counts.prioritized),
        format!("{} active", counts.active),
        format!("{} delayed", counts.delayed),
        format!("{} failed", counts.failed),
        format!("{} completed", counts.completed),
    ];
    if counts.parents > 0 {
        parts.insert(3, format!("{} waiting for children", counts.parents));
    }
    let version = queue
        .version
        .as_deref()
        .map(|version| format!(" ({version})"))
        .unwrap_or_default();
    let found = format!("{}{version}", parts.join(", "));
    if queue.paused {
        return Finding::note(
            subject,
            format!("{found}; paused"),
            "nothing starts until it is resumed",
        )
        .advice("resume it, if that is not meant");
    }
    Finding::ok(subject, found, "the jobs as they are listed")
}

/// Findings about the workers, and about the jobs of dead ones.
fn recovery(subject: &str, queue: &Queue) -> Finding {
    let unfinished = queue.counts.active
        + queue.counts.waiting
        + queue.counts.prioritized
        + queue.counts.delayed;
    let means = "a dead worker's jobs begin again from their start once their lock (30 s by default) has run out and a stalled \
                 check (each 30 s by default) has seen it; the second time they fail for good, by default";
    match queue.workers {
        Some(0) if unfinished > 0 => Finding::warn(
            subject,
            "no worker is connected",
            "nothing moves until one is",
        )
        .advice("start a worker"),
        Some(workers) => Finding::note(
            subject,
            format!("{} connected", count(workers, "worker")),
            means,
        )
        .advice("steps that were done are done again: each must bear it"),
        None => Finding::note(subject, "the server does not list its clients", means)
            .advice("steps that were done are done again: each must bear it"),
    }
}

fn stalled(subject: &str, queue: &Queue) -> Option<Finding> {
    if queue.stalled.is_empty() {
        return None;
    }
    let jobs = count(queue.stalled.len() as u64, "active job");
    let found = format!("{jobs} without a lock: {}", some(&queue.stalled));
    if queue.checks_stalled {
        let means = "their worker is gone or starved; the next stalled check moves them back, and they begin again";
        return Some(
            Finding::warn(subject, found, means)
                .advice("see the workers; nothing needs to be done by hand"),
        );
    }
    let means = "their worker is gone, and no worker has looked for stalled jobs within an interval: they stand still until a \
                 worker with a stalled check comes (promise 4 does not hold)";
    Some(
        Finding::broken(subject, found, means)
            .advice("start a worker that has not set skipStalledCheck"),
    )
}

fn orphaned(subject: &str, queue: &Queue) -> Option<Finding> {
    (!queue.orphaned.is_empty()).then(|| {
        let jobs = count(queue.orphaned.len() as u64, "listed job");
        let found = format!("{jobs} whose data is gone: {}", some(&queue.orphaned));
        let means = "their submitters wait for ever: a worker that takes one finds nothing to run (promise 1 does not hold)";
        Finding::broken(subject, found, means).advice("submit them again; check maxmemory-policy and which programs delete keys")
    })
}

fn unlisted(subject: &str, queue: &Queue) -> Option<Finding> {
    (!queue.unlisted.is_empty()).then(|| {
        let jobs = count(queue.unlisted.len() as u64, "unfinished job");
        let found = format!("{jobs} on no list: {}", some(&queue.unlisted));
        let means = "no worker will ever take them, and nothing says so (promise 4 does not hold)";
        Finding::broken(subject, found, means).advice("submit them again and remove these")
    })
}

fn consistent(subject: &str, queue: &Queue) -> Finding {
    match queue.all_seen {
        true => Finding::ok(
            subject,
            "every listed job has its data, and every job is listed",
            "no job is stuck now",
        ),
        false => Finding::note(
            subject,
            "too many jobs to look at all of them; those looked at are as they should be",
            "nothing is said about the rest",
        ),
    }
}
