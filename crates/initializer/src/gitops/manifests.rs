//! The manifests of a project: one Flux GitRepository, and for each environment a Namespace and a Flux Kustomization.
//! A pure function. The fields are those of `source.toolkit.fluxcd.io/v1` and `kustomize.toolkit.fluxcd.io/v1`.

use surefoot::Digest;

use crate::environment::Environment;
use crate::template::{Content, Entry};

/// What is to be deployed, and from where.
#[derive(Clone, Debug)]
pub struct Deployment<'a> {
    /// The project's name.
    pub project: &'a str,
    /// The run that sets it up: the ownership mark.
    pub run: &'a str,
    /// The address under which a cluster reaches the repository: `https://`, `http://` or `ssh://`, as Flux has it.
    pub url: &'a str,
    /// Where it is deployed.
    pub environments: &'a [Environment],
}

/// Where Flux's own objects live.
const FLUX_NAMESPACE: &str = "flux-system";
/// The longest name of a namespace.
const LONGEST_NAMESPACE: usize = 63;

/// The project's folder in the fleet repository.
pub fn folder(project: &str) -> String {
    format!("projects/{project}")
}

/// The namespace of an environment: `<project>-<environment>`, shortened in a way that stays unique where it is too long.
pub fn namespace(project: &str, environment: &str) -> String {
    let whole = format!("{project}-{environment}");
    if whole.len() <= LONGEST_NAMESPACE {
        return whole;
    }
    let digest = Digest::of(whole.as_bytes()).to_string();
    let kept = whole.char_indices().map(|(at, letter)| at + letter.len_utf8()).take_while(|end| *end <= 54).last();
    format!("{}-{}", whole[..kept.unwrap_or(0)].trim_end_matches('-'), &digest[..8])
}

/// The files that the fleet repository gets, by path.
pub fn manifests(deployment: &Deployment<'_>) -> Vec<Entry> {
    let folder = folder(deployment.project);
    let mut files = vec![file(format!("{folder}/repository.yaml"), repository(deployment))];
    for environment in deployment.environments {
        files.push(file(format!("{folder}/env-{}.yaml", environment.name), kustomization(deployment, environment)));
    }
    files.sort();
    files
}

/// Whether a file of the fleet bears the mark of a run.
pub(super) fn is_marked(content: &str, run: &str) -> bool {
    content.lines().any(|line| line.trim() == mark(run))
}

fn mark(run: &str) -> String {
    format!("surefoot/run: {}", text(run))
}

fn file(path: String, text: String) -> Entry {
    Entry { path, content: Content::File { bytes: text.into_bytes(), executable: false } }
}

/// A YAML string: JSON's are.
fn text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn repository(deployment: &Deployment<'_>) -> String {
    let Deployment { project, run, url, .. } = deployment;
    let (mark, address) = (mark(run), text(url));
    // Flux takes no ssh address without a key.
    let secret =
        if url.starts_with("ssh://") { format!("  secretRef:\n    name: {project}-git\n") } else { String::new() };
    format!(
        "\
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: {project}
  namespace: {FLUX_NAMESPACE}
  labels:
    app.kubernetes.io/managed-by: surefoot
  annotations:
    {mark}
spec:
  interval: 1m
  timeout: 1m
  url: {address}
  ref:
    branch: main
{secret}"
    )
}

fn kustomization(deployment: &Deployment<'_>, environment: &Environment) -> String {
    let Deployment { project, run, .. } = deployment;
    let Environment { name, approvals } = environment;
    let (mark, namespace) = (mark(run), namespace(project, name));
    format!(
        "\
apiVersion: v1
kind: Namespace
metadata:
  name: {namespace}
  labels:
    app.kubernetes.io/managed-by: surefoot
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: {project}-{name}
  namespace: {FLUX_NAMESPACE}
  labels:
    app.kubernetes.io/managed-by: surefoot
  annotations:
    {mark}
    surefoot/approvals: \"{approvals}\"
spec:
  interval: 10m
  retryInterval: 1m
  timeout: 5m
  path: ./deploy/overlays/{name}
  prune: true
  wait: true
  targetNamespace: {namespace}
  sourceRef:
    kind: GitRepository
    name: {project}
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_never_too_long_and_never_the_same() {
        assert_eq!(namespace("shop", "staging"), "shop-staging");
        let long = "x".repeat(63);
        let names = ["staging", "stagings"].map(|environment| namespace(&long, environment));
        assert!(names.iter().all(|name| name.len() == 63) && names[0] != names[1], "{names:?}");
    }

    #[test]
    fn the_mark_is_a_whole_line() {
        let deployment = Deployment { project: "shop", run: "r1", url: "https://h/shop.git", environments: &[] };
        let text = repository(&deployment);
        assert!(is_marked(&text, "r1") && !is_marked(&text, "r") && !is_marked(&text, "r11"));
        assert!(
            !text.contains("secretRef")
                && repository(&Deployment { url: "ssh://h/s", ..deployment }).contains("secretRef")
        );
    }
}
