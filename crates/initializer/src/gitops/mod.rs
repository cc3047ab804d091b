//! GitOps: the objects that Flux needs to deploy a project, and the fleet repository that it reads
//! them from.

mod claims;
mod fleet;
mod manifests;
mod names;
mod yaml;

pub use fleet::{Change, Fleet, FleetError, Published, Withdrawn};
pub use manifests::{CREDENTIALS_SECRET, Deployment, folder, manifests};
pub use names::{NameError, check_environments, check_project, flux_namespace, namespace};
