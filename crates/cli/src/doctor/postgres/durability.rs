//! Durability of a commit: the settings, and the time that a commit takes.

use std::time::Duration;

use surefoot_doctor::Finding;
use surefoot_doctor::text::time;
use surefoot_postgres::{PostgresFacts, Settings};

/// The settings, one finding each, and a measured commit.
pub(super) fn judge(facts: &PostgresFacts) -> Vec<Finding> {
    let settings = &facts.settings;
    vec![
        fsync(settings),
        synchronous_commit(settings),
        full_page_writes(settings),
        checksums(settings),
        commit(facts),
    ]
}

fn fsync(settings: &Settings) -> Finding {
    const SUBJECT: &str = "fsync";
    if settings.fsync {
        return Finding::ok(SUBJECT, "on", "the log is forced to the disk");
    }
    let means = "nothing is forced to the disk: a power cut loses commits, and can destroy the whole database (promise 1 \
                 does not hold)";
    Finding::broken(SUBJECT, "off", means).advice("fsync = on, and SELECT pg_reload_conf()")
}

fn synchronous_commit(settings: &Settings) -> Finding {
    const SUBJECT: &str = "synchronous_commit";
    let found = settings.synchronous_commit.as_str();
    match found {
        "off" => {
            let means = "Surefoot's own sessions use on, so what it acknowledges is on the disk; a run that another session adds \
                         with surefoot.submit may be lost in a crash of the server";
            Finding::warn(SUBJECT, found, means)
                .advice("synchronous_commit = on, for the server, the database and the role")
        }
        "local" if settings.waits_for_standby() => {
            let means = "a commit is on this server's disk, but waits for no standby: a failover may lose it";
            Finding::warn(SUBJECT, found, means).advice("synchronous_commit = on")
        }
        "remote_write" if settings.waits_for_standby() => {
            let means = "a commit is on this server's disk and in the standby's memory: only both failing at once lose it";
            Finding::note(SUBJECT, found, means)
                .advice("synchronous_commit = on waits for the standby's disk too")
        }
        _ => Finding::ok(
            SUBJECT,
            found,
            "a commit is on the disk before it is acknowledged",
        ),
    }
}

fn full_page_writes(settings: &Settings) -> Finding {
    const SUBJECT: &str = "full_page_writes";
    if settings.full_page_writes {
        return Finding::ok(
            SUBJECT,
            "on",
            "a page that a power cut tears is restored from the log",
        );
    }
    let means = "a page that a power cut tears stays torn: rows are lost or wrong (promise 1 does not hold), unless the file \
                 system never tears one, as ZFS";
    Finding::broken(SUBJECT, "off", means).advice("full_page_writes = on")
}

fn checksums(settings: &Settings) -> Finding {
    const SUBJECT: &str = "data_checksums";
    if settings.data_checksums {
        return Finding::ok(
            SUBJECT,
            "on",
            "damage on the disk is noticed when it is read",
        );
    }
    Finding::note(
        SUBJECT,
        "off",
        "damage on the disk may go unnoticed, into backups too",
    )
    .advice("`pg_checksums --enable` while the server is stopped")
}

/// No disk is this quick without a cache that forgets.
const NOT_BELIEVABLE: Duration = Duration::from_micros(20);

/// The time of a commit beyond that of an empty statement is spent on the disk and a standby.
fn commit(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "commit";
    let (round_trip, commit) = match (&facts.round_trip, &facts.commit) {
        (Ok(round_trip), Ok(commit)) => (*round_trip, *commit),
        (Err(error), _) | (_, Err(error)) => return Finding::unknown(SUBJECT, error),
    };
    let disk = commit.saturating_sub(round_trip);
    let found = format!(
        "{} (median), of which {} are the way there and back",
        time(commit),
        time(round_trip)
    );
    if disk < NOT_BELIEVABLE && facts.settings.fsync && facts.settings.synchronous_commit != "off" {
        let means = "not believable: no disk is that quick. Something says that it is on the disk before it is: a power cut may \
                     lose what was acknowledged (promise 1)";
        return Finding::warn(SUBJECT, found, means)
            .advice("see the server's file system, virtual disk and drive cache");
    }
    Finding::ok(
        SUBJECT,
        found,
        "each step waits once for this long; runs that go on together share it",
    )
}
