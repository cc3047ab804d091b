//! This host: git, the data directory, room for workspaces.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use surefoot::WorkerOptions;
use surefoot_doctor::{Finding, free_space, git, writable};

use crate::capacity;
use crate::config::Settings;

/// Looks at what a worker on this host needs.
pub(super) fn examine(settings: &Settings, workspaces: &Path) -> Vec<Finding> {
    let mut findings = vec![
        git(),
        writable("data directory", &settings.data_dir),
        free_space("workspaces", workspaces),
    ];
    findings.extend(open_to_others(&settings.data_dir));
    findings.extend(few_slots(settings));
    findings
}

/// A data directory that others of this host can look into.
fn open_to_others(data_dir: &Path) -> Option<Finding> {
    let mode = data_dir.metadata().ok()?.permissions().mode() & 0o077;
    (mode != 0).then(|| {
        let means = "the store and the workspaces, with what steps wrote into them, can be read by others of this host";
        Finding::warn("data directory", format!("others can look into {}", data_dir.display()), means)
            .advice(format!("chmod 700 {}", data_dir.display()))
    })
}

/// A limit of this process that allows a worker fewer runs than it is to hold.
fn few_slots(settings: &Settings) -> Option<Finding> {
    let wanted = settings
        .concurrency
        .unwrap_or(WorkerOptions::default().concurrency);
    let shortage = capacity::shortage(wanted)?;
    let means = "the other runs wait for their turn; none fails for it";
    Some(
        Finding::note(
            "worker",
            format!("a worker started like this holds {shortage}"),
            means,
        )
        .advice("raise the limit (LimitNOFILE, LimitNPROC), or set `concurrency` under [worker]"),
    )
}
