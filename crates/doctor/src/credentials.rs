//! Credentials that workflows name: checks that they exist. No value is ever shown.

use std::collections::{BTreeMap, BTreeSet};

use surefoot::store::RunFilter;
use surefoot::{CredentialSource, RunStatus, Store, StoreError, Workflow};

use crate::Finding;
use crate::text::some;

const SUBJECT: &str = "credentials";

/// Limit of unfinished runs of each status whose workflows are examined, oldest first.
const LOOKED_AT: usize = 200;

/// Credentials named by a workflow's steps, in a field `credential` or as the values of a field
/// `credentials`. A name computed by an expression is unknown before the run.
pub fn named_credentials(workflow: &Workflow) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for step in workflow.steps() {
        let one = step.with.get("credential").into_iter();
        let many = step
            .with
            .get("credentials")
            .and_then(|all| all.as_object())
            .into_iter()
            .flatten();
        let texts = one
            .chain(many.map(|(_, name)| name))
            .filter_map(|name| name.as_str());
        names.extend(
            texts
                .filter(|name| !name.contains("${{"))
                .map(str::to_owned),
        );
    }
    names
}

/// Checks that `source` has every credential that the configuration, known workflows (`wanted`:
/// name and user of it) and the unfinished runs of the store need.
///
/// # Errors
/// When the store cannot be read.
pub async fn credentials(
    store: Option<&dyn Store>,
    source: &dyn CredentialSource,
    wanted: &[(String, String)],
) -> Result<Vec<Finding>, StoreError> {
    let mut by_name: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, who) in wanted {
        by_name.entry(name.clone()).or_default().insert(who.clone());
    }
    if let Some(store) = store {
        add_unfinished(store, &mut by_name).await?;
    }
    Ok(judge(&by_name, source))
}

async fn add_unfinished(
    store: &dyn Store,
    by_name: &mut BTreeMap<String, BTreeSet<String>>,
) -> Result<(), StoreError> {
    for status in [RunStatus::Queued, RunStatus::Waiting, RunStatus::Running] {
        let filter = RunFilter {
            status: Some(status),
            limit: LOOKED_AT,
            oldest_first: true,
            ..RunFilter::default()
        };
        for run in store.runs(filter).await? {
            for name in named_credentials(&run.plan) {
                by_name
                    .entry(name)
                    .or_default()
                    .insert(format!("unfinished runs of {}", run.plan.name()));
            }
        }
    }
    Ok(())
}

fn judge(
    by_name: &BTreeMap<String, BTreeSet<String>>,
    source: &dyn CredentialSource,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut here = Vec::new();
    for (name, who) in by_name {
        match source.get(name) {
            Ok(_) => here.push(name.clone()),
            Err(error) => findings.push(missing(&error.to_string(), who)),
        }
    }
    if by_name.is_empty() {
        findings.push(Finding::ok(SUBJECT, "none is named", "no step needs one"));
    } else if !here.is_empty() {
        findings.push(Finding::ok(
            SUBJECT,
            format!("here: {}", some(&here)),
            "steps that name them find them",
        ));
    }
    findings
}

/// The source's error already says what to set: `no credential x: set ..., or write ...`.
fn missing(error: &str, who: &BTreeSet<String>) -> Finding {
    let who = some(&who.iter().cloned().collect::<Vec<_>>());
    let (found, advice) = error
        .split_once(": ")
        .unwrap_or((error, "give it to the workers of this host"));
    Finding::warn(
        SUBJECT,
        format!("{found} (named by {who})"),
        "the step that needs it fails on this host, before it did anything; it can be retried",
    )
    .advice(advice)
}
