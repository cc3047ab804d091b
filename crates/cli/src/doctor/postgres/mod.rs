//! A store in PostgreSQL: what its server guarantees, as it says itself and as it was measured.

#[cfg(test)]
mod doctored;
mod durability;
mod reach;
mod standby;
#[cfg(test)]
mod tests;
mod upkeep;

use std::sync::Arc;

use surefoot::Store;
use surefoot_doctor::Finding;
use surefoot_postgres::{PostgresFacts, PostgresOptions};

use super::away;

/// The oldest version that is supported: the statements are written for it.
const OLDEST: u32 = 13;

/// Looks at the database, and gives the store for further questions. A schema that is missing or
/// older is left as it is.
pub(super) async fn examine(options: PostgresOptions) -> (Vec<Finding>, Option<Arc<dyn Store>>) {
    let facts = match options.facts().await {
        Ok(facts) => facts,
        Err(error) => return (vec![away(&error)], None),
    };
    let mut findings = judge(&facts);
    if matches!(facts.schema, Ok((0, _))) {
        let found = "the database holds no store yet";
        findings.insert(
            0,
            Finding::note(super::STORE, found, "there is nothing to lose yet")
                .advice("the first command makes it"),
        );
        return (findings, None);
    }
    match options.migrate(false).open().await {
        Ok(store) => (findings, Some(Arc::new(store))),
        Err(error) => {
            findings.insert(0, away(&error));
            (findings, None)
        }
    }
}

fn judge(facts: &PostgresFacts) -> Vec<Finding> {
    let mut findings = vec![server(facts)];
    findings.extend(durability::judge(facts));
    findings.push(standby::judge(&facts.settings, &facts.standbys));
    findings.extend(reach::judge(facts));
    findings.extend(upkeep::judge(facts));
    findings
}

fn server(facts: &PostgresFacts) -> Finding {
    const SUBJECT: &str = "server";
    let (major, minor) = (
        facts.settings.version / 10_000,
        facts.settings.version % 10_000,
    );
    let schema = match &facts.schema {
        Ok((0, _)) => String::new(),
        Ok((found, known)) if found == known => format!(", schema {found}"),
        Ok((found, known)) => format!(", schema {found} (this build knows {known})"),
        Err(error) => format!(", schema not known: {error}"),
    };
    let found = format!("PostgreSQL {major}.{minor}{schema}");
    if major < OLDEST {
        let means = "older than the statements are written for: nothing here is vouched for";
        return Finding::broken(SUBJECT, found, means).advice("upgrade to PostgreSQL 13 or newer");
    }
    if facts.settings.in_recovery {
        let means = "it is a standby: nothing can be submitted, and no run moves on it";
        return Finding::broken(SUBJECT, found, means).advice("name the primary in --store");
    }
    match &facts.schema {
        Ok((found_version, known)) if *found_version > 0 && found_version < known => Finding::warn(
            SUBJECT,
            found,
            "workers of this build refuse it, or bring it up to date when they may",
        )
        .advice("`surefoot migrate`, once workers of older builds tolerate it"),
        _ => Finding::ok(
            SUBJECT,
            found,
            "a version that the statements are written for",
        ),
    }
}
