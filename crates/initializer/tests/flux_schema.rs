//! The manifests of a project against the schemas that Flux publishes, for exactly the fields that Surefoot writes.
//!
//! The schemas below say in our words what the CustomResourceDefinitions of source-controller v1.9.1
//! (`config/crd/bases/source.toolkit.fluxcd.io_gitrepositories.yaml`) and kustomize-controller v1.9.4
//! (`config/crd/bases/kustomize.toolkit.fluxcd.io_kustomizations.yaml`) ask of those fields. Every other field is refused,
//! so that one more field in a manifest needs a look at the CRD, and a line here.

#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use serde::Deserialize;
use serde_json::{Value, json};
use surefoot_initializer::Environment;
use surefoot_initializer::gitops::{Deployment, manifests};
use surefoot_initializer::template::Content;

/// The three sets of units differ: Flux gives a GitRepository's timeout no hours.
const DURATION: &str = "^([0-9]+(\\.[0-9]+)?(ms|s|m|h))+$";
const TIMEOUT: &str = "^([0-9]+(\\.[0-9]+)?(ms|s|m))+$";

fn object(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "required": required, "additionalProperties": false, "properties": properties })
}

fn resource(api_version: &str, kind: &str, spec: Option<Value>) -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let name = json!({ "type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253 });
    let metadata = object(&["name"], json!({ "name": name, "namespace": name, "labels": texts, "annotations": texts }));
    let mut fields = json!({ "apiVersion": { "const": api_version }, "kind": { "const": kind }, "metadata": metadata });
    let mut required = vec!["apiVersion", "kind", "metadata"];
    if let Some(spec) = spec {
        fields["spec"] = spec;
        required.push("spec");
    }
    object(&required, fields)
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
    resource("source.toolkit.fluxcd.io/v1", "GitRepository", Some(spec))
}

fn kustomization() -> Value {
    let kinds = ["OCIRepository", "GitRepository", "Bucket", "ExternalArtifact"];
    let source = object(&["kind", "name"], json!({ "kind": { "enum": kinds }, "name": { "type": "string" } }));
    let spec = object(
        &["interval", "prune", "sourceRef"],
        json!({
            "interval": { "type": "string", "pattern": DURATION },
            "retryInterval": { "type": "string", "pattern": DURATION },
            "timeout": { "type": "string", "pattern": DURATION },
            "path": { "type": "string" },
            "prune": { "type": "boolean" },
            "wait": { "type": "boolean" },
            "targetNamespace": { "type": "string", "minLength": 1, "maxLength": 63 },
            "sourceRef": source,
        }),
    );
    resource("kustomize.toolkit.fluxcd.io/v1", "Kustomization", Some(spec))
}

fn schema(document: &Value) -> Value {
    match document["kind"].as_str() {
        Some("GitRepository") => git_repository(),
        Some("Kustomization") => kustomization(),
        Some("Namespace") => resource("v1", "Namespace", None),
        other => panic!("no schema for the kind {other:?}"),
    }
}

fn faults(document: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(&schema(document)).unwrap();
    validator.iter_errors(document).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn documents(project: &str, url: &str) -> Vec<Value> {
    let environments = [("development", 0), ("staging", 1), ("production", 2)];
    let environments = environments.map(|(name, approvals)| Environment { name: name.to_owned(), approvals });
    let files = manifests(&Deployment { project, run: "0190", url, environments: &environments });
    let texts = files.iter().map(|file| match &file.content {
        Content::File { bytes, .. } => std::str::from_utf8(bytes).unwrap(),
        Content::Symlink { .. } => panic!("a manifest is a file"),
    });
    texts.flat_map(|text| text.split("---\n").map(parsed).collect::<Vec<_>>()).collect()
}

fn parsed(text: &str) -> Value {
    Value::deserialize(serde_saphyr::from_str::<Value>(text).unwrap()).unwrap()
}

#[test]
fn every_manifest_fits_its_schema() {
    let long = "x".repeat(63);
    let urls = ["https://git.example/shop.git", "ssh://git@localhost/srv/data \"of\" ours/shop.git"];
    for (project, url) in urls.iter().flat_map(|url| [("shop", url), (long.as_str(), url)]) {
        let documents = documents(project, url);
        assert_eq!(documents.len(), 7, "one GitRepository, and a Namespace and a Kustomization for each environment");
        for document in &documents {
            assert_eq!(faults(document), [""; 0], "{document}");
        }
        let repository = documents.iter().find(|document| document["kind"] == "GitRepository").unwrap();
        assert_eq!(repository["spec"]["url"], **url);
    }
}

#[test]
fn the_schemas_refuse_what_flux_refuses() {
    let refused = |kind: &str, pointer: &str, value: Value| {
        let documents = documents("shop", "https://git.example/shop.git");
        let mut document = documents.into_iter().find(|document| document["kind"] == kind).unwrap();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        document.pointer_mut(parent).unwrap()[field] = value;
        assert!(!faults(&document).is_empty(), "{document}");
    };
    refused("GitRepository", "/spec/url", json!("/srv/shop.git"));
    refused("GitRepository", "/spec/timeout", json!("1h"));
    refused("GitRepository", "/spec/unknown", json!(1));
    refused("GitRepository", "/apiVersion", json!("source.toolkit.fluxcd.io/v1beta2"));
    refused("Kustomization", "/spec/interval", json!("1 m"));
    refused("Kustomization", "/spec/targetNamespace", json!("x".repeat(64)));
    refused("Kustomization", "/spec/sourceRef/kind", json!("HelmChart"));
    refused("Kustomization", "/spec/prune", json!("true"));
}
