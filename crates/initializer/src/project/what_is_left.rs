//! Work that an initialization leaves to people: commands to run next, and requests that are not in
//! force yet.

use crate::environment::Environment;
use crate::forge::Visibility;
use crate::gitops::{CREDENTIALS_SECRET, Deployment, flux_namespace};

/// Facts of a finished project that determine what is left.
pub(super) struct WhatIsLeft<'a> {
    pub(super) project: &'a str,
    /// Address for `git clone`.
    pub(super) url: &'a str,
    /// Address under which clusters reach the repository.
    pub(super) address: &'a str,
    /// True if only this machine understands that address.
    pub(super) is_local_address: bool,
    /// The fleet repository, if GitOps was set up.
    pub(super) fleet: Option<&'a str>,
    pub(super) visibility: Visibility,
    pub(super) environments: &'a [Environment],
}

impl WhatIsLeft<'_> {
    /// Commands, with comments, that can be pasted into a shell.
    pub(super) fn next_steps(&self) -> Vec<String> {
        let mut steps = vec![format!("git clone {}", self.url)];
        let Some(fleet) = self.fleet else {
            return steps;
        };
        steps.push(format!(
            "# once for a cluster that has {fleet} as its GitRepository `fleet`:"
        ));
        steps.push(
            "flux create kustomization fleet --source=GitRepository/fleet --path=./projects --prune=true --interval=1m"
                .to_owned(),
        );
        if self.needs_credential() {
            let login = if self.address.starts_with("ssh://") {
                ""
            } else {
                " --username=USER --password=READ_ONLY_TOKEN"
            };
            let namespace = flux_namespace(self.project);
            steps.push(format!(
                "# once the cluster has the namespace {namespace}, so that Flux can read the repository:"
            ));
            steps.push(format!(
                "flux create secret git {CREDENTIALS_SECRET} --namespace={namespace} --url={}{login}",
                self.address
            ));
        }
        steps
    }

    /// Requests that are not in force, a sentence each.
    pub(super) fn not_done(&self) -> Vec<String> {
        let mut list = Vec::new();
        if self.fleet.is_some() && self.is_local_address {
            list.push(format!(
                "deployment: {} leads to this machine only; clusters need `repositories_url` in the configuration",
                self.address
            ));
        }
        if self.needs_credential() {
            list.push(format!(
                "deployment: Flux cannot read the repository until the cluster has the secret {}/{CREDENTIALS_SECRET}",
                flux_namespace(self.project)
            ));
        }
        let wanted = self
            .environments
            .iter()
            .filter(|environment| environment.approvals > 0);
        let names = wanted
            .map(|environment| environment.name.as_str())
            .collect::<Vec<_>>();
        if !names.is_empty() {
            list.push(format!(
                "approvals: recorded for {}, but nothing waits for them yet",
                names.join(" and ")
            ));
        }
        list
    }

    fn needs_credential(&self) -> bool {
        let deployment = Deployment {
            project: self.project,
            run: "",
            url: self.address,
            visibility: self.visibility,
            environments: self.environments,
        };
        self.fleet.is_some() && deployment.needs_credential()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(
        address: &'static str,
        fleet: Option<&'static str>,
        visibility: Visibility,
    ) -> WhatIsLeft<'static> {
        let is_local_address = address.contains("localhost");
        WhatIsLeft {
            project: "shop",
            url: "file:///shop.git",
            address,
            is_local_address,
            fleet,
            visibility,
            environments: &[],
        }
    }

    #[test]
    fn a_private_repository_behind_https_needs_a_secret_and_a_public_one_does_not() {
        let private = left(
            "https://git.example/shop.git",
            Some("fleet"),
            Visibility::Private,
        );
        let command = "flux create secret git git-credentials --namespace=fleet--shop --url=https://git.example/shop.git \
                       --username=USER --password=READ_ONLY_TOKEN";
        assert_eq!(private.next_steps().last().unwrap(), command);
        assert!(
            private.not_done()[0].contains("fleet--shop/git-credentials"),
            "{:?}",
            private.not_done()
        );
        let public = left(
            "https://git.example/shop.git",
            Some("fleet"),
            Visibility::Public,
        );
        assert!(public.next_steps().len() == 3 && public.not_done().is_empty());
    }

    #[test]
    fn without_gitops_nothing_of_a_cluster_is_left() {
        let left = left("ssh://git@localhost/shop.git", None, Visibility::Private);
        assert_eq!(left.next_steps(), ["git clone file:///shop.git"]);
        assert!(left.not_done().is_empty());
    }

    #[test]
    fn unenforced_settings_are_named() {
        let environments = [("dev", 0), ("qa", 1), ("live", 2)];
        let environments = environments.map(|(name, approvals)| Environment {
            name: name.to_owned(),
            approvals,
        });
        let local = left(
            "ssh://git@localhost/shop.git",
            Some("fleet"),
            Visibility::Public,
        );
        let left = WhatIsLeft {
            environments: &environments,
            ..local
        };
        let list = left.not_done();
        assert!(
            list[0].contains("this machine only") && list[1].contains("secret"),
            "{list:?}"
        );
        assert_eq!(
            list[2],
            "approvals: recorded for qa and live, but nothing waits for them yet"
        );
    }
}
