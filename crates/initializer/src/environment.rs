//! Environments of a project: its deployment targets, and their required approvals.

use serde::{Deserialize, Serialize};

/// An environment, with its approval rule as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// Name, such as `staging`.
    pub name: String,
    /// Number of people who must approve a deployment.
    #[serde(default)]
    pub approvals: u32,
}
