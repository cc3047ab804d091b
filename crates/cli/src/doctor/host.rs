//! This host: git, the data directory, room for workspaces.

use std::path::Path;

use surefoot_doctor::{Finding, free_space, git, writable};

use crate::config::Settings;

/// Looks at what a worker on this host needs.
pub(super) fn examine(settings: &Settings, workspaces: &Path) -> Vec<Finding> {
    vec![git(), writable("data directory", &settings.data_dir), free_space("workspaces", workspaces)]
}
