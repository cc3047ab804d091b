//! Standbys: what a failover would lose.

use surefoot::StoreError;
use surefoot_doctor::Finding;
use surefoot_doctor::text::{bytes, some};
use surefoot_postgres::{Settings, Standby};

const SUBJECT: &str = "standbys";

/// Findings about the data lost if the server is lost permanently.
pub(super) fn judge(settings: &Settings, standbys: &Result<Vec<Standby>, StoreError>) -> Finding {
    let standbys = match standbys {
        Ok(standbys) => standbys,
        Err(error) => return Finding::unknown(SUBJECT, error),
    };
    if !standbys.is_empty() && standbys.iter().all(|standby| standby.state.is_none()) {
        let why = format!(
            "{}, of which this user may see no more (pg_read_all_stats)",
            names(standbys)
        );
        return Finding::unknown(SUBJECT, why);
    }
    let in_step = standbys
        .iter()
        .any(|standby| matches!(standby.sync_state.as_deref(), Some("sync" | "quorum")));
    match (settings.waits_for_standby(), in_step, standbys.is_empty()) {
        (true, true, _) => {
            Finding::ok(SUBJECT, names(standbys), "a failover to one in step loses nothing that was acknowledged")
        }
        (true, false, _) => Finding::warn(
            SUBJECT,
            format!("commits wait for `{}`, and no standby is in step", settings.synchronous_standby_names),
            "no commit is acknowledged until one is: runs stand still, and nothing is lost",
        )
        .advice("bring the standby back, or change synchronous_standby_names"),
        (false, _, true) => Finding::note(
            SUBJECT,
            "none",
            "a crash of the server loses nothing; the loss of its disk loses everything since the last backup",
        )
        .advice("a standby, or backups with an archive of the log"),
        (false, _, false) => behind(standbys),
    }
}

fn behind(standbys: &[Standby]) -> Finding {
    let behind = standbys
        .iter()
        .filter_map(|standby| standby.behind)
        .max()
        .unwrap_or(0);
    let found = format!(
        "{}, none in step, up to {} behind",
        names(standbys),
        bytes(behind)
    );
    let means = "a crash of the server loses nothing; a failover loses the commits that the standby has not received, although \
                 they were acknowledged";
    Finding::warn(SUBJECT, found, means)
        .advice("synchronous_standby_names makes commits wait for one")
}

fn names(standbys: &[Standby]) -> String {
    let name = |standby: &Standby| match &standby.sync_state {
        Some(state) => format!("{} ({state})", standby.name),
        None => standby.name.clone(),
    };
    some(&standbys.iter().map(name).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use surefoot_doctor::Level;

    use super::*;

    fn standby(sync_state: &str) -> Standby {
        Standby {
            name: "b".to_owned(),
            state: Some("streaming".to_owned()),
            sync_state: Some(sync_state.to_owned()),
            behind: Some(2048),
        }
    }

    #[test]
    fn what_a_failover_loses_is_told() {
        let check = |names: &str, standbys: &[Standby], level: Level, found: &str| {
            let settings = Settings {
                synchronous_standby_names: names.to_owned(),
                ..Settings::default()
            };
            let finding = judge(&settings, &Ok(standbys.to_vec()));
            assert_eq!(
                (finding.level, finding.found.as_str()),
                (level, found),
                "{finding:?}"
            );
        };
        check("", &[], Level::Note, "none");
        check(
            "",
            &[standby("async")],
            Level::Warn,
            "b (async), none in step, up to 2.0 KiB behind",
        );
        check("b", &[standby("sync")], Level::Ok, "b (sync)");
        check(
            "ANY 1 (b, c)",
            &[standby("quorum")],
            Level::Ok,
            "b (quorum)",
        );
        check(
            "b",
            &[],
            Level::Warn,
            "commits wait for `b`, and no standby is in step",
        );
    }
}
