//! GitOps: what Flux needs to deploy a project, and the fleet repository that Flux reads it from.

mod fleet;
mod manifests;

pub use fleet::{Change, Fleet, FleetError, Published};
pub use manifests::{Deployment, folder, manifests, namespace};
