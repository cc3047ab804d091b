//! Manifests of a project against the schemas that Flux publishes, for exactly the fields that
//! Surefoot writes.
//!
//! The schemas below express the rules of the CustomResourceDefinitions of source-controller v1.9.1
//! (`config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml`) and kustomize-controller
//! v1.9.4 (`config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml`) for those fields.
//! Every other field is refused, so that a new field in a manifest needs a check of the CRD, and a
//! line here.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use serde_json::{Value, json};
use surefoot_initializer::Environment;
use surefoot_initializer::forge::Visibility;
use surefoot_initializer::gitops::{Deployment, manifests};
use surefoot_initializer::template::Content;

/// The three sets of units differ: a GitRepository's timeout has no hours.
const DURATION: &str = "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$";
const TIMEOUT: &str = "^([0-9]+(\\.[0-9]+)?(ms|s|m))+$";

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}

/// A resource with these fields beside its metadata, all of them required.
fn resource(api_version: &str, kind: &str, more: Value) -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let label = json!({ "type": "string", "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", "maxLength": 63 });
    let labels = json!({ "type": "object", "additionalProperties": label });
    // Flux puts a Kustomization's name into a label: 63 letters, where others may have 253.
    let name =
        json!({ "type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63 });
    let metadata = object(
        &["name"],
        json!({ "name": name, "namespace": name, "labels": labels, "annotations": texts }),
    );
    let mut fields = json!({ "apiVersion": { "const": api_version }, "kind": { "const": kind }, "metadata": metadata });
    let mut required = vec!["apiVersion", "kind", "metadata"];
    for (field, schema) in more.as_object().unwrap() {
        fields[field] = schema.clone();
        required.push(field);
    }
    object(&required, fields)
}

fn role() -> Value {
    let texts = json!({ "type": "array", "minItems": 1, "items": { "type": "string" } });
    let rule = object(
        &["apiGroups", "resources", "verbs"],
        json!({ "apiGroups": texts, "resources": texts, "verbs": texts }),
    );
    let more = json!({ "rules": { "type": "array", "items": rule } });
    resource("rbac.authorization.k8s.io/v1", "Role", more)
}

fn role_binding() -> Value {
    let text = json!({ "type": "string" });
    let role = json!({ "apiGroup": { "const": "rbac.authorization.k8s.io" }, "kind": { "const": "Role" }, "name": text });
    let subject = json!({ "kind": { "const": "ServiceAccount" }, "name": text, "namespace": text });
    let subjects =
        json!({ "type": "array", "items": object(&["kind", "name", "namespace"], subject) });
    let more =
        json!({ "roleRef": object(&["apiGroup", "kind", "name"], role), "subjects": subjects });
    resource("rbac.authorization.k8s.io/v1", "RoleBinding", more)
}

fn git_repository() -> Value {
    let spec = object(
        &["interval", "url"],
        json!({
            "interval": { "type": "string", "pattern": DURATION },
            "timeout": { "type": "string", "pattern": TIMEOUT },
            "url": { "type": "string", "pattern": "^(http|https|ssh)://.*$" },
            "ref": object(&[], json!({ "branch": { "type": "string" } })),
            "secretRef": object(&["name"], json!({ "name": { "type": "string" } })),
        }),
    );
    resource(
        "source.toolkit.fluxcd.io/v1",
        "GitRepository",
        json!({ "spec": spec }),
    )
}

fn kustomization() -> Value {
    let kinds = [
        "OCIRepository",
        "GitRepository",
        "Bucket",
        "ExternalArtifact",
    ];
    let source = object(
        &["kind", "name"],
        json!({ "kind": { "enum": kinds }, "name": { "type": "string" } }),
    );
    let spec = object(
        &["interval", "prune", "sourceRef"],
        json!({
            "interval": { "type": "string", "pattern": DURATION },
            "retryInterval": { "type": "string", "pattern": DURATION },
            "timeout": { "type": "string", "pattern": DURATION },
            "path": { "type": "string" },
            "prune": { "type": "boolean" },
            "wait": { "type": "boolean" },
            "serviceAccountName": { "type": "string" },
            "targetNamespace": { "type": "string", "minLength": 1, "maxLength": 63 },
            "sourceRef": source,
        }),
    );
    resource(
        "kustomize.toolkit.fluxcd.io/v1",
        "Kustomization",
        json!({ "spec": spec }),
    )
}

fn schema(document: &Value) -> Value {
    match document["kind"].as_str() {
        Some("GitRepository") => git_repository(),
        Some("Kustomization") => kustomization(),
        Some("Namespace") => resource("v1", "Namespace", json!({})),
        Some("ServiceAccount") => resource("v1", "ServiceAccount", json!({})),
        Some("Role") => role(),
        Some("RoleBinding") => role_binding(),
        other => panic!("no schema for the kind {other:?}"),
    }
}

fn faults(document: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema(document)).unwrap();
    validator
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

fn documents(project: &str, url: &str) -> Vec<Value> {
    documents_of(project, url, &["development", "staging", "production"])
}

fn documents_of(project: &str, url: &str, environments: &[&str]) -> Vec<Value> {
    let environments = environments.iter().map(|name| Environment {
        name: (*name).to_owned(),
        approvals: 2,
    });
    let environments = environments.collect::<Vec<_>>();
    let visibility = Visibility::Private;
    let files = manifests(&Deployment {
        project,
        run: "0190",
        url,
        visibility,
        environments: &environments,
    });
    let texts = files.iter().map(|file| match &file.content {
        Content::File { bytes, .. } => std::str::from_utf8(bytes).unwrap(),
        Content::Symlink { .. } => panic!("a manifest is a file"),
    });
    texts
        .flat_map(|text| serde_saphyr::from_multiple::<Value>(text).unwrap())
        .collect()
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents
        .iter()
        .filter(|document| document["kind"] == kind)
        .collect()
}

#[test]
fn every_manifest_fits_its_schema() {
    let long = "x".repeat(63);
    let urls = [
        "https://git.example/shop.git",
        "ssh://git@localhost/srv/data \"of\" ours/shop.git",
    ];
    for (project, url) in urls
        .iter()
        .flat_map(|url| [("shop", url), (long.as_str(), url)])
    {
        let documents = documents(project, url);
        assert_eq!(
            documents.len(),
            17,
            "a Namespace and a GitRepository, and five for each environment"
        );
        for document in &documents {
            assert_eq!(faults(document), [""; 0], "{document}");
        }
        let repository = documents
            .iter()
            .find(|document| document["kind"] == "GitRepository")
            .unwrap();
        assert_eq!(repository["spec"]["url"], **url);
    }
}

#[test]
fn the_schemas_refuse_what_flux_refuses() {
    let refused = |kind: &str, pointer: &str, value: Value| {
        let documents = documents("shop", "https://git.example/shop.git");
        let mut document = documents
            .into_iter()
            .find(|document| document["kind"] == kind)
            .unwrap();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[field] = value;
        assert!(!faults(&document).is_empty(), "{document}");
    };
    refused("GitRepository", "/spec/url", json!("/srv/shop.git"));
    refused("GitRepository", "/spec/timeout", json!("1h"));
    refused("GitRepository", "/spec/unknown", json!(1));
    refused(
        "GitRepository",
        "/apiVersion",
        json!("source.toolkit.fluxcd.io/v1beta2"),
    );
    refused("Kustomization", "/spec/interval", json!("1 m"));
    refused(
        "Kustomization",
        "/spec/targetNamespace",
        json!("x".repeat(64)),
    );
    refused("Kustomization", "/spec/sourceRef/kind", json!("HelmChart"));
    refused("Kustomization", "/spec/prune", json!("true"));
}

#[test]
fn flux_applies_what_a_project_brings_with_rights_in_its_own_namespace_alone() {
    let documents = documents("shop", "https://git.example/shop.git");
    let names = of_kind(&documents, "Namespace")
        .iter()
        .map(|it| it["metadata"]["name"].clone())
        .collect::<Vec<_>>();
    let kustomizations = of_kind(&documents, "Kustomization");
    assert_eq!((names.len(), kustomizations.len()), (4, 3));
    for kustomization in kustomizations {
        let spec = &kustomization["spec"];
        let home = &kustomization["metadata"]["namespace"];
        let target = &spec["targetNamespace"];
        assert!(
            names.contains(home) && names.contains(target) && home != target,
            "{kustomization}"
        );
        assert!(
            spec["sourceRef"].get("namespace").is_none(),
            "no source of another namespace"
        );
        let account = json!({ "kind": "ServiceAccount", "name": spec["serviceAccountName"], "namespace": home });
        let accounts = of_kind(&documents, "ServiceAccount");
        assert!(
            accounts
                .iter()
                .any(|it| it["metadata"]["name"] == account["name"]
                    && it["metadata"]["namespace"] == *home)
        );
        let bound = of_kind(&documents, "RoleBinding")
            .into_iter()
            .filter(|it| it["subjects"] == json!([account]));
        let bound = bound.collect::<Vec<_>>();
        assert!(
            bound.len() == 1 && bound[0]["metadata"]["namespace"] == *target,
            "{bound:?}"
        );
        let roles = of_kind(&documents, "Role")
            .into_iter()
            .filter(|it| it["metadata"]["namespace"] == *target);
        let roles = roles.collect::<Vec<_>>();
        assert!(roles.len() == 1 && roles[0]["metadata"]["name"] == bound[0]["roleRef"]["name"]);
        limited(&roles[0]["rules"]);
    }
    assert_eq!(
        of_kind(&documents, "Kustomization").len() + 1 + 4 + 9,
        documents.len(),
        "nothing else, no ClusterRoleBinding"
    );
}

/// No wildcard, no rights over rights, and no object of Flux: a Kustomization need not name a
/// service account.
fn limited(rules: &Value) {
    for rule in rules.as_array().unwrap() {
        let text = rule.to_string();
        assert!(
            ![
                "*",
                "rbac",
                "toolkit.fluxcd.io",
                "impersonate",
                "escalate",
                "bind"
            ]
            .iter()
            .any(|word| text.contains(word)),
            "{text}"
        );
    }
}

#[test]
fn every_text_of_a_manifest_is_quoted() {
    for word in ["no", "on", "true", "null", "yes", "y1", "off"] {
        for document in documents_of(word, "https://git.example/x.git", &[word, "n", "y", "e3"]) {
            assert_eq!(faults(&document), [""; 0], "{document}");
        }
    }
    let environments = [Environment {
        name: "no".to_owned(),
        approvals: 0,
    }];
    let deployment = Deployment {
        project: "no",
        run: "1e3",
        url: "https://h/no.git",
        visibility: Visibility::Public,
        environments: &environments,
    };
    for file in manifests(&deployment) {
        let Content::File { bytes, .. } = file.content else {
            panic!("a manifest is a file")
        };
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let value = line
                .split_once(": ")
                .or_else(|| line.trim().split_once("- "))
                .map_or("", |(_, value)| value);
            let quoted = value.is_empty()
                || value.starts_with('"')
                || value == "true"
                || value.ends_with(':')
                || value.contains(": \"");
            assert!(quoted, "{line}");
        }
    }
}
