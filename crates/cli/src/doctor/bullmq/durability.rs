//! Effect of the server's settings on acknowledged writes.

use surefoot_doctor::Finding;
use surefoot_doctor::text::{bytes, count};

use super::server::Server;

/// The settings, one finding each.
pub(super) fn judge(server: &Server) -> Vec<Finding> {
    let mut findings = vec![version(server), log(server)];
    findings.extend(log_errors(server));
    findings.push(snapshots(server));
    findings.push(eviction(server));
    findings.push(replication(server));
    findings
}

fn version(server: &Server) -> Finding {
    const SUBJECT: &str = "redis";
    let found = format!("version {}", server.version);
    if server.config_refused {
        let means =
            "CONFIG is refused here, as hosts do: appendfsync, save and min-replicas are not known";
        return Finding::note(SUBJECT, found, means).advice("ask its operator for the setting");
    }
    Finding::ok(SUBJECT, found, "its settings can be read")
}

fn log(server: &Server) -> Finding {
    const SUBJECT: &str = "appendonly";
    if !server.aof {
        let means = "every job since the last snapshot is gone after a kill -9, an out-of-memory kill or a power cut: an \
                     acknowledged submit does not survive (promise 1 does not hold)";
        return Finding::broken(SUBJECT, "no append-only file", means)
            .advice("appendonly yes and appendfsync always; `CONFIG SET appendonly yes` works on a running server");
    }
    let found = |fsync: &str| format!("append-only file, appendfsync {fsync}");
    match server.fsync.as_deref() {
        Some("always") => Finding::ok(
            SUBJECT,
            found("always"),
            "what was acknowledged is on the disk",
        ),
        Some("everysec") => {
            let late = match server.delayed_fsyncs {
                0 => String::new(),
                times => format!("; the disk was late {}", count(times, "time")),
            };
            let means = "a kill of the process loses nothing; a power cut loses the last second of acknowledged jobs, two \
                         when the disk is late (promise 1 does not hold)";
            Finding::broken(SUBJECT, format!("{}{late}", found("everysec")), means)
                .advice("appendfsync always")
        }
        Some("no") => {
            let means = "a power cut loses what the system had not written by itself, commonly the last 30 s of \
                         acknowledged jobs (promise 1 does not hold)";
            Finding::broken(SUBJECT, found("no"), means).advice("appendfsync always")
        }
        _ => {
            let means = "a kill of the process loses nothing; how much a power cut loses hangs on a setting not shown here";
            Finding::note(SUBJECT, found("not known"), means)
                .advice("ask its operator for appendfsync")
        }
    }
}

fn log_errors(server: &Server) -> Vec<Finding> {
    const SUBJECT: &str = "append-only file";
    let mut findings = Vec::new();
    if server.aof && server.aof_write_failed {
        let means = "Redis refuses writes until it can write its log again: no job is added, none completes";
        findings.push(
            Finding::broken(SUBJECT, "the last write failed", means)
                .advice("see its disk and its log"),
        );
    }
    if server.aof && server.aof_rewrite_failed {
        let means = "nothing is lost, but the file grows and a start takes longer each time";
        findings.push(
            Finding::warn(SUBJECT, "the last rewrite failed", means)
                .advice("see its disk and its memory"),
        );
    }
    if server.aof && server.no_fsync_on_rewrite {
        let means = "nothing is synced while a rewrite or a snapshot goes on: a power cut then loses all of that time";
        findings.push(
            Finding::warn(SUBJECT, "no-appendfsync-on-rewrite yes", means)
                .advice("no-appendfsync-on-rewrite no"),
        );
    }
    findings
}

fn snapshots(server: &Server) -> Finding {
    const SUBJECT: &str = "snapshots";
    let found = match server.save.as_deref() {
        Some("") => "none".to_owned(),
        Some(rules) => format!("save {rules}"),
        None => "rules not known".to_owned(),
    };
    if server.save_failed {
        let means = "Redis refuses writes after a failed snapshot unless told otherwise, and a restart goes far back";
        return Finding::broken(SUBJECT, format!("{found}; the last one failed"), means)
            .advice("see its disk, its memory and vm.overcommit_memory");
    }
    if server.aof {
        return Finding::ok(
            SUBJECT,
            found,
            "with an append-only file a restart reads that, and not the snapshot",
        );
    }
    let means = match server.save.as_deref() {
        Some("") => "a restart begins with nothing",
        _ => "a restart begins with the last snapshot",
    };
    Finding::warn(SUBJECT, found, means).advice("appendonly yes")
}

/// Above this share of its memory the server is about to refuse writes.
const NEARLY_FULL: u64 = 90;

fn eviction(server: &Server) -> Finding {
    const SUBJECT: &str = "maxmemory-policy";
    let limit = match server.max_memory {
        0 => "no limit of memory".to_owned(),
        limit => format!("{} of {} used", bytes(server.used_memory), bytes(limit)),
    };
    let gone = match server.evicted {
        0 => String::new(),
        keys => format!("; {} evicted since it started", count(keys, "key")),
    };
    let Some(policy) = server.policy.as_deref() else {
        return Finding::unknown(SUBJECT, "the server does not say");
    };
    let found = format!("{policy}, {limit}{gone}");
    const ADVICE: &str = "maxmemory-policy noeviction: the only one with which BullMQ works";
    match (policy, server.max_memory) {
        ("noeviction", limit) if limit > 0 && server.used_memory * 100 >= limit * NEARLY_FULL => {
            let means = "soon every write is refused: no job is added, none completes, locks run out and jobs stall";
            Finding::warn(SUBJECT, found, means)
                .advice("more memory, or fewer kept jobs (removeOnComplete)")
        }
        ("noeviction", _) => Finding::ok(SUBJECT, found, "no key is taken away to make room"),
        (_, 0) => {
            let means = "nothing is evicted while there is no limit; with one, jobs would vanish without a crash";
            Finding::warn(SUBJECT, found, means).advice(ADVICE)
        }
        _ => {
            let means = "when memory is short Redis deletes keys of its own choice, jobs among them: they vanish without a \
                         crash and without a trace (promise 1 does not hold)";
            Finding::broken(SUBJECT, found, means).advice(ADVICE)
        }
    }
}

fn replication(server: &Server) -> Finding {
    const SUBJECT: &str = "replication";
    if server.is_replica {
        let means = "what is found below is its copy: the truth is with its master";
        return Finding::warn(SUBJECT, "this server is a replica", means)
            .advice("look at the master");
    }
    let online = server
        .replicas
        .iter()
        .filter(|replica| replica.online)
        .count() as u64;
    if online == 0 {
        let means = "when this host is lost for good, so is every job";
        return Finding::note(SUBJECT, "no replica", means)
            .advice("a replica, or backups of its files");
    }
    let behind = server
        .replicas
        .iter()
        .map(|replica| replica.behind)
        .max()
        .unwrap_or_default();
    let names = server
        .replicas
        .iter()
        .map(|replica| replica.address.as_str())
        .collect::<Vec<_>>()
        .join(", ");
    let found = format!(
        "{} ({names}), up to {} behind",
        count(online, "replica"),
        bytes(behind)
    );
    let means = "replication does not wait: a failover loses what the new master has not received, although it was \
                 acknowledged (promise 1 does not hold across a failover)";
    let advice = match server.min_replicas {
        0 => "min-replicas-to-write 1 bounds it: without a live replica, writes are refused",
        _ => "min-replicas-to-write is set, which bounds it to the lag that is allowed",
    };
    Finding::warn(SUBJECT, found, means).advice(advice)
}

#[cfg(test)]
mod tests {
    use surefoot_doctor::Level;

    use super::super::server::Replica;
    use super::*;

    fn safe() -> Server {
        Server {
            aof: true,
            fsync: Some("always".to_owned()),
            save: Some(String::new()),
            policy: Some("noeviction".to_owned()),
            ..Server::default()
        }
    }

    fn check(change: impl FnOnce(&mut Server), subject: &str, level: Level, found: &str) {
        let mut server = safe();
        change(&mut server);
        let findings = judge(&server);
        let worst = findings
            .iter()
            .filter(|finding| finding.subject == subject)
            .max_by_key(|finding| finding.level);
        let worst = worst.unwrap_or_else(|| panic!("nothing of {subject} in {findings:#?}"));
        assert_eq!(
            (worst.level, worst.found.as_str()),
            (level, found),
            "{worst:?}"
        );
    }

    #[test]
    fn settings_that_lose_nothing_are_ok() {
        let worst = judge(&safe())
            .into_iter()
            .filter(|finding| finding.level > Level::Note)
            .collect::<Vec<_>>();
        assert_eq!(worst, []);
    }

    #[test]
    fn each_setting_that_loses_something_is_told() {
        let text = |text: &str| Some(text.to_owned());
        check(
            |server| server.aof = false,
            "appendonly",
            Level::Broken,
            "no append-only file",
        );
        let found = "append-only file, appendfsync everysec; the disk was late 2 times";
        check(
            |server| (server.fsync, server.delayed_fsyncs) = (text("everysec"), 2),
            "appendonly",
            Level::Broken,
            found,
        );
        check(
            |server| server.fsync = text("no"),
            "appendonly",
            Level::Broken,
            "append-only file, appendfsync no",
        );
        check(
            |server| server.aof_write_failed = true,
            "append-only file",
            Level::Broken,
            "the last write failed",
        );
        check(
            |server| server.aof_rewrite_failed = true,
            "append-only file",
            Level::Warn,
            "the last rewrite failed",
        );
        let found = "no-appendfsync-on-rewrite yes";
        check(
            |server| server.no_fsync_on_rewrite = true,
            "append-only file",
            Level::Warn,
            found,
        );
        check(
            |server| server.save_failed = true,
            "snapshots",
            Level::Broken,
            "none; the last one failed",
        );
        let evicting =
            |server: &mut Server| (server.policy, server.evicted) = (text("allkeys-lru"), 3);
        let found = "allkeys-lru, no limit of memory; 3 keys evicted since it started";
        check(evicting, "maxmemory-policy", Level::Warn, found);
        let limited = |server: &mut Server| {
            (server.policy, server.max_memory) = (text("volatile-ttl"), 1 << 20)
        };
        check(
            limited,
            "maxmemory-policy",
            Level::Broken,
            "volatile-ttl, 0 bytes of 1.0 MiB used",
        );
        let full =
            |server: &mut Server| (server.max_memory, server.used_memory) = (1 << 20, 1_000_000);
        check(
            full,
            "maxmemory-policy",
            Level::Warn,
            "noeviction, 976.6 KiB of 1.0 MiB used",
        );
        check(
            |server| server.is_replica = true,
            "replication",
            Level::Warn,
            "this server is a replica",
        );
        let replica = Replica {
            address: "b:1".to_owned(),
            online: true,
            behind: 2048,
        };
        let found = "1 replica (b:1), up to 2.0 KiB behind";
        check(
            |server| server.replicas = vec![replica],
            "replication",
            Level::Warn,
            found,
        );
    }
}
