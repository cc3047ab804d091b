//! The key file of secret parameters, and unfinished runs that need a key which this host lacks.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use surefoot::store::RunFilter;
use surefoot::{RunStatus, Sealed, SecretKeys, Store, StoreError};
use surefoot_doctor::Finding;
use surefoot_doctor::text::{count, some};

use crate::config::Settings;
use crate::key_file;

const SUBJECT: &str = "keys";

/// Runs of each status that are looked at.
const LOOKED_AT: usize = 1000;

/// Looks at the key file, which it never makes, and at the keys that unfinished runs need.
pub(super) async fn examine(
    store: Option<&dyn Store>,
    settings: &Settings,
) -> Result<Vec<Finding>, StoreError> {
    let (file, keys) = look(settings);
    let ours: BTreeSet<String> = keys.iter().flat_map(SecretKeys::resources).collect();
    let mut findings = vec![file];
    if let Some(store) = store {
        findings.extend(lacking(store, &ours).await?);
    }
    Ok(findings)
}

fn path(settings: &Settings) -> PathBuf {
    let own = || settings.data_dir.join("secret.key");
    settings.key_file.clone().unwrap_or_else(own)
}

/// The finding on the file, and the keys in it.
fn look(settings: &Settings) -> (Finding, Option<SecretKeys>) {
    let path = path(settings);
    let shown = path.display();
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return (absent(settings), None);
        }
        Err(error) => return (Finding::unknown(SUBJECT, format!("{shown}: {error}")), None),
    };
    let mode = metadata.permissions().mode() & 0o777;
    match key_file::read(&path, false) {
        Ok(keys) => {
            let number = count(keys.ids().count() as u64, "key");
            let found = format!("{shown} holds {number}, mode {mode:03o}");
            let means = "secret parameters are encrypted with the first and read with any; a backup needs this file too";
            (Finding::ok(SUBJECT, found, means), Some(keys))
        }
        Err(failure) => {
            let found = format!(
                "{shown}, mode {mode:03o}, cannot be used: {}",
                failure.message()
            );
            let means = "no worker starts on this host, and nothing with secret parameters can be submitted from it";
            let finding = Finding::broken(SUBJECT, found, means)
                .advice("make it a file of keys, one a line, that its owner alone can read");
            (finding, None)
        }
    }
}

fn absent(settings: &Settings) -> Finding {
    let path = path(settings);
    let shown = path.display();
    if settings.key_file.is_some() {
        let means = "no worker starts on this host: a configured key file is shared with other hosts, and never made";
        return Finding::broken(SUBJECT, format!("there is no {shown}"), means)
            .advice("copy it from the host that has it, or correct `secrets.key_file`");
    }
    let means = "the first worker, or the first run with a secret parameter, makes it";
    Finding::ok(SUBJECT, format!("there is no {shown} yet"), means)
}

/// Unfinished runs whose parameters no key of this host decrypts.
async fn lacking(
    store: &dyn Store,
    ours: &BTreeSet<String>,
) -> Result<Option<Finding>, StoreError> {
    let mut keys = BTreeSet::new();
    let mut runs = 0;
    for status in [RunStatus::Queued, RunStatus::Waiting, RunStatus::Running] {
        let filter = RunFilter {
            status: Some(status),
            limit: LOOKED_AT,
            oldest_first: true,
            ..RunFilter::default()
        };
        for run in store.runs(filter).await? {
            let needed = run.sealed.as_ref().map(Sealed::resource);
            if let Some(key) = needed.filter(|key| !ours.contains(key)) {
                keys.insert(key);
                runs += 1;
            }
        }
    }
    if runs == 0 {
        return Ok(None);
    }
    let keys = keys.into_iter().collect::<Vec<_>>();
    let found = format!(
        "{} unfinished {} a key that this host lacks: {}",
        runs,
        if runs == 1 { "run needs" } else { "runs need" },
        some(&keys)
    );
    let means = "nothing is lost; a worker of this host leaves them waiting, one that has the key takes them";
    let advice = "add the line of that key below the first of the key file, from the host or the backup that has it, and \
                  restart the workers";
    Ok(Some(Finding::warn(SUBJECT, found, means).advice(advice)))
}
