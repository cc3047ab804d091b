//! The way to the database: a pooler, notifications, the clock, remaining connections.

use std::time::Duration;

use surefoot_doctor::Finding;
use surefoot_doctor::text::{count, time};
use surefoot_postgres::PostgresFacts;

/// Findings about a pooler between this host and the server.
pub(super) fn judge(facts: &PostgresFacts) -> Vec<Finding> {
    vec![
        pooler(facts),
        notify(facts),
        clock(facts),
        connections(facts),
    ]
}

fn pooler(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "pooler";
    if facts.pooled {
        let means = "nothing is lost by it; a pooler by transaction lets no notification through, so work is found by polling";
        return Finding::note(
            SUBJECT,
            "one that may give each transaction to another session of the server",
            means,
        )
        .advice("a direct address lets work begin sooner");
    }
    Finding::ok(
        SUBJECT,
        "none: a session stays a session",
        "notifications come through",
    )
}

/// A notification that takes this long is no help over polling.
const LATE: Duration = Duration::from_millis(250);

fn notify(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "notifications";
    match &facts.notify {
        Ok(Some(took)) if *took <= LATE => {
            let found = format!("heard by another session after {} (median)", time(*took));
            Finding::ok(
                SUBJECT,
                found,
                "another worker knows of work this soon; should one be lost, polling finds the work",
            )
        }
        Ok(Some(took)) => {
            let found = format!("heard by another session after {} (median)", time(*took));
            Finding::note(
                SUBJECT,
                found,
                "nothing is lost, but work on other workers begins later than it could",
            )
            .advice("see how busy the server and the network are")
        }
        Ok(None) => {
            let found = "none was heard within 2 s";
            let means =
                "nothing is lost: workers find work by polling, about a second later at most";
            let advice = if facts.pooled {
                "that is the pooler's doing"
            } else {
                "see whether something swallows NOTIFY"
            };
            Finding::note(SUBJECT, found, means).advice(advice)
        }
        Err(error) => Finding::unknown(SUBJECT, error),
    }
}

/// From here on people are misled when they compare times.
const MISLEADING: Duration = Duration::from_secs(1);

fn clock(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "clock";
    let (ahead, uncertain) = match &facts.clock {
        Ok((ahead, uncertain)) => (*ahead, *uncertain),
        Err(error) => return Finding::unknown(SUBJECT, error),
    };
    let difference = Duration::from_micros(ahead.unsigned_abs());
    let word = if ahead >= 0 { "ahead of" } else { "behind" };
    let found = format!(
        "the database's is {} {word} this host's (within {})",
        time(difference),
        time(uncertain)
    );
    let means = "leases, waits and limits go by the database's clock alone, so that no worker's clock can harm them";
    if difference > MISLEADING + uncertain {
        return Finding::note(
            SUBJECT,
            found,
            format!("{means}; logs and `--at` will seem wrong"),
        )
        .advice("NTP on both");
    }
    Finding::ok(SUBJECT, found, means)
}

/// Connections that a worker, its listener and a few commands need.
const FEW: u64 = 15;

fn connections(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "connections";
    let usage = match &facts.usage {
        Ok(usage) => usage,
        Err(error) => return Finding::unknown(SUBJECT, error),
    };
    let left = facts
        .settings
        .max_connections
        .saturating_sub(usage.connections);
    let found = format!(
        "{} of {} are left",
        left,
        count(facts.settings.max_connections, "connection")
    );
    if left < FEW {
        let means = "a worker that cannot connect moves nothing, and one that must reconnect may lose its lease meanwhile; its \
                     runs then go on elsewhere";
        return Finding::warn(SUBJECT, found, means)
            .advice("raise max_connections, put a pooler in front, or end idle clients");
    }
    Finding::ok(SUBJECT, found, "workers can connect again after an outage")
}
