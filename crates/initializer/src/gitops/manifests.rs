//! Manifests of a project, as a pure function: a namespace in which Flux works for it, and for each
//! environment a separate namespace, to which Flux's rights are limited there.
//!
//! Flux applies a Kustomization with a cluster admin's rights unless it names a service account. So
//! each environment has a service account that may do no more than the rules below in one
//! namespace. ClusterRoles such as `admin` and `edit` are no limit: Flux adds its own kinds to
//! them, and a Kustomization created by a project need not name any account. Sources and accounts
//! are in another namespace than the deployed objects, so that no pod can use their secrets. The
//! fields are those of `source.toolkit.fluxcd.io/v1` and `kustomize.toolkit.fluxcd.io/v1`.

use serde_json::{Map, Value, json};

use super::names::{flux_namespace, namespace};
use super::yaml;
use crate::environment::Environment;
use crate::forge::Visibility;
use crate::template::{Content, Entry};

/// The secret with which Flux reads a non-public repository, in the project's Flux namespace.
pub const CREDENTIALS_SECRET: &str = "git-credentials";

/// Key of the ownership mark among an object's annotations.
const MARK: &str = "surefoot/run";

/// A deployment of a project.
#[derive(Clone, Debug)]
pub struct Deployment<'a> {
    /// Name of the project.
    pub project: &'a str,
    /// The run that sets it up: the ownership mark.
    pub run: &'a str,
    /// Address under which a cluster reaches the repository: `https://`, `http://` or `ssh://`, as
    /// Flux requires.
    pub url: &'a str,
    /// Visibility of the repository: without a credential Flux reads only public ones.
    pub visibility: Visibility,
    /// Its environments.
    pub environments: &'a [Environment],
}

impl Deployment<'_> {
    /// Returns whether Flux needs a credential: every ssh server requires a key.
    pub fn needs_credential(&self) -> bool {
        self.url.starts_with("ssh://") || self.visibility != Visibility::Public
    }
}

/// The project's directory in the fleet repository.
pub fn folder(project: &str) -> String {
    format!("projects/{project}")
}

/// Files for the fleet repository, by path.
pub fn manifests(deployment: &Deployment<'_>) -> Vec<Entry> {
    let folder = folder(deployment.project);
    let home = json!({ "name": flux_namespace(deployment.project) });
    let mut files = vec![
        file(
            format!("{folder}/namespace.yaml"),
            &[object(deployment, "v1", "Namespace", home, json!({}))],
        ),
        file(
            format!("{folder}/repository.yaml"),
            &[repository(deployment)],
        ),
    ];
    for environment in deployment.environments {
        files.push(file(
            format!("{folder}/env-{}.yaml", environment.name),
            &objects(deployment, environment),
        ));
    }
    files.sort();
    files
}

/// Returns whether a file of the fleet has the mark of a run.
pub(super) fn is_marked(content: &str, run: &str) -> bool {
    let mark = format!("{MARK}: {}", Value::from(run));
    content.lines().any(|line| line.trim() == mark)
}

fn file(path: String, documents: &[Value]) -> Entry {
    let bytes = yaml::documents(documents).into_bytes();
    Entry {
        path,
        content: Content::File {
            bytes,
            executable: false,
        },
    }
}

/// An object of the project with the ownership mark; `fields` are those beside its metadata.
fn object(
    deployment: &Deployment<'_>,
    api_version: &str,
    kind: &str,
    mut metadata: Value,
    fields: Value,
) -> Value {
    let labels = merged(
        json!({ "app.kubernetes.io/managed-by": "surefoot", "toolkit.fluxcd.io/tenant": deployment.project }),
        &metadata["labels"],
    );
    metadata["labels"] = labels;
    metadata["annotations"] = merged(json!({ MARK: deployment.run }), &metadata["annotations"]);
    merged(
        json!({ "apiVersion": api_version, "kind": kind, "metadata": metadata }),
        &fields,
    )
}

fn merged(mut base: Value, more: &Value) -> Value {
    if let (Some(base), Some(more)) = (base.as_object_mut(), more.as_object()) {
        base.extend(more.clone());
    }
    base
}

fn repository(deployment: &Deployment<'_>) -> Value {
    let mut spec = Map::new();
    spec.insert("interval".to_owned(), json!("1m"));
    spec.insert("timeout".to_owned(), json!("1m"));
    spec.insert("url".to_owned(), json!(deployment.url));
    spec.insert("ref".to_owned(), json!({ "branch": "main" }));
    if deployment.needs_credential() {
        spec.insert(
            "secretRef".to_owned(),
            json!({ "name": CREDENTIALS_SECRET }),
        );
    }
    let metadata =
        json!({ "name": deployment.project, "namespace": flux_namespace(deployment.project) });
    object(
        deployment,
        "source.toolkit.fluxcd.io/v1",
        "GitRepository",
        metadata,
        json!({ "spec": spec }),
    )
}

/// Objects of an environment. Flux creates them as the cluster's admin, and applies the project's
/// own objects with the service account's rights.
fn objects(deployment: &Deployment<'_>, environment: &Environment) -> [Value; 5] {
    let name = namespace(deployment.project, &environment.name);
    let home = flux_namespace(deployment.project);
    let here = json!({ "name": name, "namespace": name });
    let at_home = json!({ "name": name, "namespace": home });
    // Without it a project could reach the node, and from there the cluster: a privileged pod, a
    // path of the host.
    let restricted =
        json!({ "name": name, "labels": { "pod-security.kubernetes.io/enforce": "baseline" } });
    let account = json!({ "kind": "ServiceAccount", "name": name, "namespace": home });
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name });
    let bound = json!({ "roleRef": role, "subjects": [account] });
    [
        object(deployment, "v1", "Namespace", restricted, json!({})),
        object(deployment, "v1", "ServiceAccount", at_home, json!({})),
        object(
            deployment,
            "rbac.authorization.k8s.io/v1",
            "Role",
            here.clone(),
            json!({ "rules": rules() }),
        ),
        object(
            deployment,
            "rbac.authorization.k8s.io/v1",
            "RoleBinding",
            here,
            bound,
        ),
        kustomization(deployment, environment, &name, &home),
    ]
}

/// Rules for what a project may deploy: workloads and what they need, but no rights and no objects
/// of Flux.
fn rules() -> Value {
    const RESOURCES: [(&str, &[&str]); 6] = [
        (
            "",
            &[
                "configmaps",
                "persistentvolumeclaims",
                "pods",
                "secrets",
                "serviceaccounts",
                "services",
            ],
        ),
        (
            "apps",
            &["daemonsets", "deployments", "replicasets", "statefulsets"],
        ),
        ("autoscaling", &["horizontalpodautoscalers"]),
        ("batch", &["cronjobs", "jobs"]),
        ("networking.k8s.io", &["ingresses", "networkpolicies"]),
        ("policy", &["poddisruptionbudgets"]),
    ];
    const VERBS: [&str; 7] = [
        "get", "list", "watch", "create", "update", "patch", "delete",
    ];
    RESOURCES
        .iter()
        .map(|(group, resources)| json!({ "apiGroups": [group], "resources": resources, "verbs": VERBS }))
        .collect()
}

fn kustomization(
    deployment: &Deployment<'_>,
    environment: &Environment,
    name: &str,
    home: &str,
) -> Value {
    let metadata = json!({
        "name": name,
        "namespace": home,
        // A record for people and tools: Flux waits for no approval.
        "annotations": { "surefoot/approvals": environment.approvals.to_string() },
    });
    let spec = json!({
        "interval": "10m",
        "retryInterval": "1m",
        "timeout": "5m",
        "path": format!("./deploy/overlays/{}", environment.name),
        "prune": true,
        "wait": true,
        "serviceAccountName": name,
        "targetNamespace": name,
        "sourceRef": { "kind": "GitRepository", "name": deployment.project },
    });
    object(
        deployment,
        "kustomize.toolkit.fluxcd.io/v1",
        "Kustomization",
        metadata,
        json!({ "spec": spec }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployment(url: &str, visibility: Visibility) -> Deployment<'_> {
        Deployment {
            project: "shop",
            run: "r1",
            url,
            visibility,
            environments: &[],
        }
    }

    #[test]
    fn the_mark_must_be_a_whole_line() {
        let deployment = deployment("https://h/shop.git", Visibility::Private);
        for file in manifests(&deployment) {
            let Content::File { bytes, .. } = file.content else {
                panic!("a manifest is a file")
            };
            let text = String::from_utf8(bytes).unwrap();
            assert!(
                is_marked(&text, "r1") && !is_marked(&text, "r") && !is_marked(&text, "r11"),
                "{text}"
            );
        }
        // The form in fleets of earlier versions.
        assert!(is_marked(
            "  annotations:\n    surefoot/run: \"r1\"\nspec:\n",
            "r1"
        ));
    }

    #[test]
    fn flux_gets_a_credential_unless_it_needs_none() {
        let check = |url: &str, visibility: Visibility, expect: bool| {
            let repository = repository(&deployment(url, visibility));
            assert_eq!(
                repository["spec"].get("secretRef").is_some(),
                expect,
                "{url} {visibility:?}"
            );
        };
        check("ssh://git@h/shop.git", Visibility::Private, true);
        check("ssh://git@h/shop.git", Visibility::Public, true);
        check("https://h/shop.git", Visibility::Private, true);
        check("https://h/shop.git", Visibility::Internal, true);
        check("https://h/shop.git", Visibility::Public, false);
    }
}
