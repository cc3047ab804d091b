//! Vacuum, the transactions that hold it back, and the free space of the database.

use surefoot_doctor::text::{bytes, count, some, time};
use surefoot_doctor::{Finding, free_space};
use surefoot_postgres::{Holder, HolderKind, PostgresFacts, TableFacts};

/// Vacuum, dead rows, age, disk.
pub(super) fn judge(facts: &PostgresFacts) -> Vec<Finding> {
    let mut findings = match &facts.holders {
        Ok(holders) if holders.is_empty() => {
            let found = "no old transaction, prepared transaction or idle slot";
            vec![Finding::ok(HELD, found, "dead rows can be removed")]
        }
        Ok(holders) => holders.iter().map(held).collect(),
        Err(error) => vec![Finding::unknown(HELD, error)],
    };
    findings.push(dead_rows(facts));
    findings.push(age(facts));
    findings.push(disk(facts));
    findings
}

const HELD: &str = "vacuum";

fn held(holder: &Holder) -> Finding {
    let age = holder
        .age
        .map(|age| format!(" for {}", time(age)))
        .unwrap_or_default();
    let slower = "nothing is lost, but no row that died since can be removed: tables grow, and claims slow down";
    match holder.kind {
        HolderKind::Transaction => Finding::warn(HELD, format!("a transaction is open{age}: {}", holder.name), slower)
            .advice("end it: SELECT pg_terminate_backend(PID); idle_in_transaction_session_timeout does so by itself"),
        HolderKind::Prepared => Finding::warn(HELD, format!("a transaction is prepared{age}: {}", holder.name), slower)
            .advice(format!("COMMIT PREPARED or ROLLBACK PREPARED '{}': it survives even a restart", holder.name)),
        HolderKind::Slot => {
            let keeps = holder.keeps.map(|keeps| format!(", which keeps {} of log", bytes(keeps))).unwrap_or_default();
            let means = "the log is kept for it until the disk is full: then the server stops, and loses nothing";
            Finding::warn(HELD, format!("the replication slot {} has no reader{keeps}", holder.name), means)
                .advice("SELECT pg_drop_replication_slot(...) if it is unused; max_slot_wal_keep_size bounds it")
        }
    }
}

/// Dead rows below this number have no effect.
const SOME: u64 = 20_000;

fn dead_rows(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "dead rows";
    if !facts.settings.autovacuum {
        let means = "nothing is lost, but dead rows stay: claims slow down day by day, and one day the server stops";
        return Finding::warn(SUBJECT, "autovacuum is off", means).advice("autovacuum = on");
    }
    let tables = match &facts.tables {
        Ok(tables) => tables,
        Err(error) => return Finding::unknown(SUBJECT, error),
    };
    let many = |table: &&TableFacts| table.dead > SOME && table.dead > table.live;
    let worst = tables
        .iter()
        .filter(many)
        .map(described)
        .collect::<Vec<_>>();
    if worst.is_empty() {
        let (live, dead) = tables.iter().fold((0, 0), |(live, dead), table| {
            (live + table.live, dead + table.dead)
        });
        let size = bytes(tables.iter().map(|table| table.bytes).sum());
        let found = format!(
            "{} beside {}, {size}",
            count(dead, "dead row"),
            count(live, "live one")
        );
        return Finding::ok(SUBJECT, found, "claims read what they need and little else");
    }
    Finding::warn(
        SUBJECT,
        some(&worst),
        "nothing is lost, but claims read dead rows too, and slow down",
    )
    .advice(
        "see what holds vacuum back above; otherwise give autovacuum more workers and less delay",
    )
}

fn described(table: &TableFacts) -> String {
    let vacuumed = table
        .vacuumed
        .map_or("never".to_owned(), |ago| format!("{} ago", time(ago)));
    format!(
        "{}: {} dead beside {}, vacuumed {vacuumed}",
        table.name, table.dead, table.live
    )
}

/// Autovacuum sets to work at 200 million; far beyond, it cannot keep up.
const OLD: u64 = 1_000_000_000;

fn age(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "age";
    match &facts.usage {
        Ok(usage) if usage.oldest > OLD => Finding::warn(
            SUBJECT,
            format!("{} million transactions since the oldest row was frozen", usage.oldest / 1_000_000),
            "near 2,100 million the server takes no more writes: runs stand still, and nothing is lost",
        )
        .advice("VACUUM FREEZE; see what holds vacuum back"),
        Ok(usage) => Finding::ok(
            SUBJECT,
            format!("{} million transactions since the oldest row was frozen", usage.oldest / 1_000_000),
            "far from where the server would stop",
        ),
        Err(error) => Finding::unknown(SUBJECT, error),
    }
}

/// Only a server on this host shows its disk.
fn disk(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "free disk";
    let size = facts
        .usage
        .as_ref()
        .map(|usage| format!("; the database takes {}", bytes(usage.bytes)))
        .unwrap_or_default();
    match &facts.folder {
        Some(folder) if folder.exists() && !facts.pooled => {
            let mut finding = free_space(SUBJECT, folder);
            finding.found.push_str(&size);
            finding
        }
        _ => Finding::note(
            SUBJECT,
            format!("the server does not say{size}"),
            "on a full disk the server stops: nothing is lost, and runs stand still",
        )
        .advice("watch the disk on the server's host"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn holders_say_what_to_do() {
        let holder = |kind, name: &str| Holder {
            kind,
            name: name.to_owned(),
            age: Some(Duration::from_secs(7200)),
            keeps: Some(1 << 30),
        };
        let check = |kind, found: &str| assert_eq!(held(&holder(kind, "x")).found, found);
        check(
            HolderKind::Transaction,
            "a transaction is open for 2 h 0 min: x",
        );
        check(
            HolderKind::Prepared,
            "a transaction is prepared for 2 h 0 min: x",
        );
        check(
            HolderKind::Slot,
            "the replication slot x has no reader, which keeps 1.0 GiB of log",
        );
    }
}
