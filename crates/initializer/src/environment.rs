//! Environments of a project: where it is deployed, and how many people approve before it is.

use serde::{Deserialize, Serialize};

/// An environment, with its approval rule as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// `staging`.
    pub name: String,
    /// How many people must approve a deployment.
    #[serde(default)]
    pub approvals: u32,
}
