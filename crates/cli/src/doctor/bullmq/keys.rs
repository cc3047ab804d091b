//! Names of BullMQ 5's keys: `<prefix>:<queue>:<kind>`, and `<prefix>:<queue>:<id>` for a job.

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{RedisError, cmd};

/// Lists of unfinished jobs.
pub(super) const LISTS: [&str; 3] = ["wait", "paused", "active"];

/// Sorted sets of unfinished jobs.
pub(super) const SETS: [&str; 3] = ["prioritized", "delayed", "waiting-children"];

/// Sorted sets of finished jobs.
pub(super) const FINISHED: [&str; 2] = ["completed", "failed"];

/// Kinds of keys that are no jobs.
const KINDS: [&str; 19] = [
    "wait",
    "paused",
    "active",
    "prioritized",
    "delayed",
    "waiting-children",
    "completed",
    "failed",
    "id",
    "stalled",
    "stalled-check",
    "repeat",
    "limiter",
    "meta",
    "events",
    "pc",
    "marker",
    "de",
    "metrics",
];

/// Time limit of the scan over keys.
const LONGEST: Duration = Duration::from_secs(5);

/// Keys that a walk brings at most.
const MOST: usize = 100_000;

/// `bull:init:wait`.
pub(super) fn key(prefix: &str, queue: &str, kind: &str) -> String {
    format!("{prefix}:{queue}:{kind}")
}

/// The queues with this prefix: each has a key `meta` from its first job on.
pub(super) async fn queues(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> Result<Vec<String>, RedisError> {
    let pattern = format!("{}:*:meta", escaped(prefix));
    let (keys, _) = walk(connection, &pattern, "hash", Some).await?;
    let start = prefix.len() + 1;
    let end = ":meta".len();
    let mut names = keys
        .iter()
        .map(|key| key[start..key.len() - end].to_owned())
        .collect::<Vec<_>>();
    names.sort_unstable();
    Ok(names)
}

/// The ids of all hashes that are jobs of the queue, and whether that is all.
pub(super) async fn jobs(
    connection: &mut MultiplexedConnection,
    prefix: &str,
    queue: &str,
) -> Result<(Vec<String>, bool), RedisError> {
    let start = key(prefix, queue, "");
    let id = |key: String| {
        key.strip_prefix(&start)
            .filter(|id| is_id(id))
            .map(str::to_owned)
    };
    walk(connection, &format!("{}*", escaped(&start)), "hash", id).await
}

/// An id of a job has no colon in it; what has one belongs to a job, a scheduler or a
/// deduplication.
fn is_id(id: &str) -> bool {
    !id.contains(':') && !KINDS.contains(&id)
}

/// SCAN, which neither blocks the server nor misses a key that is there all the time. It may bring
/// one twice.
async fn walk(
    connection: &mut MultiplexedConnection,
    pattern: &str,
    kind: &str,
    wanted: impl Fn(String) -> Option<String>,
) -> Result<(Vec<String>, bool), RedisError> {
    let start = Instant::now();
    let mut cursor = 0_u64;
    let mut found = Vec::new();
    loop {
        let mut scan = cmd("SCAN");
        scan.arg(cursor)
            .arg("MATCH")
            .arg(pattern)
            .arg("COUNT")
            .arg(1000)
            .arg("TYPE")
            .arg(kind);
        let (next, keys): (u64, Vec<String>) = scan.query_async(connection).await?;
        found.extend(keys.into_iter().filter_map(&wanted));
        cursor = next;
        if cursor == 0 || found.len() >= MOST || start.elapsed() > LONGEST {
            found.sort_unstable();
            found.dedup();
            return Ok((found, cursor == 0));
        }
    }
}

/// Escapes the characters that SCAN would take as a pattern.
fn escaped(text: &str) -> String {
    let special = |letter: char| matches!(letter, '*' | '?' | '[' | ']' | '\\');
    text.chars()
        .flat_map(|letter| special(letter).then_some('\\').into_iter().chain([letter]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_from_other_keys() {
        for id in ["1", "0198a2b3", "my-job"] {
            assert!(is_id(id), "{id}");
        }
        for other in [
            "meta",
            "wait",
            "1:lock",
            "1:logs",
            "repeat:x:17",
            "de:x",
            "metrics:failed",
        ] {
            assert!(!is_id(other), "{other}");
        }
    }

    #[test]
    fn patterns_mean_what_they_say() {
        assert_eq!(escaped("a*b[c]"), "a\\*b\\[c\\]");
    }
}
