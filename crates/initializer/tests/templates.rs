//! The built-in templates, rendered: they build, pass their own tests, and deploy what they
//! declare.

#![expect(clippy::disallowed_methods, reason = "tests make and look at files")]
#![expect(clippy::unwrap_used, reason = "a helper of a test fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use surefoot_initializer::template::{Content, Entry, builtin, render};

fn rendered(template: &str, folder: &Path) -> Vec<Entry> {
    let files = files(
        template,
        "my-shop",
        &["staging", "production"],
        json!({ "port": 18080 }),
    );
    for file in &files {
        let path = folder.join(&file.path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match &file.content {
            Content::File { bytes, .. } => fs::write(path, bytes).unwrap(),
            Content::Symlink { .. } => panic!("built-in templates have no links"),
        }
    }
    files
}

fn files(template: &str, name: &str, environments: &[&str], values: Value) -> Vec<Entry> {
    let template = builtin(template).unwrap().unwrap();
    let environments = environments
        .iter()
        .map(|name| json!({ "name": name, "approvals": 1 }))
        .collect::<Vec<_>>();
    let scope = json!({
        "name": name, "description": "", "owner": "", "gitops": true, "environments": environments,
        "values": template.manifest.check_values(values).unwrap(),
    });
    render(&template, &scope).unwrap()
}

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

#[test]
fn the_rust_service_builds_and_passes_its_tests_offline() {
    let folder = tempfile::tempdir().unwrap();
    rendered("rust-service", folder.path());
    let target = folder.path().join("its-own-target");
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--offline", "--locked"])
        .current_dir(folder.path())
        .env("CARGO_TARGET_DIR", target);
    let text = succeeds(cargo.env_remove("RUSTFLAGS"));
    assert_eq!(
        text.matches("test result: ok. 1 passed").count(),
        1,
        "{text}"
    );
    assert_eq!(
        text.matches("test result: ok. 2 passed").count(),
        1,
        "{text}"
    );
    assert!(!text.contains("warning"), "{text}");
}

#[test]
fn the_python_service_passes_its_tests() {
    let folder = tempfile::tempdir().unwrap();
    rendered("python-service", folder.path());
    let text = succeeds(
        Command::new("python3")
            .args(["-m", "unittest", "discover"])
            .current_dir(folder.path()),
    );
    assert!(
        text.contains("Ran 3 tests") && text.contains("OK"),
        "{text}"
    );
}

#[test]
fn every_environment_has_its_overlay_and_nothing_is_left_to_render() {
    for template in ["rust-service", "python-service"] {
        let folder = tempfile::tempdir().unwrap();
        let files = rendered(template, folder.path());
        for environment in ["staging", "production"] {
            let overlay = folder
                .path()
                .join(format!("deploy/overlays/{environment}/kustomization.yaml"));
            let overlay = fs::read_to_string(overlay).unwrap();
            assert!(
                overlay.contains("- ../../base\n")
                    && overlay.contains(&format!("newTag: \"{environment}\"")),
                "{overlay}"
            );
        }
        for file in files
            .iter()
            .filter(|file| !file.path.starts_with(".github/"))
        {
            let Content::File { bytes, .. } = &file.content else {
                continue;
            };
            assert!(
                !String::from_utf8_lossy(bytes).contains("${"),
                "{template} {}",
                file.path
            );
        }
        assert!(
            files
                .iter()
                .any(|file| file.path == ".github/workflows/ci.yml")
        );
    }
}

#[test]
fn a_name_that_yaml_takes_for_something_else_stays_text_in_every_manifest() {
    let image = r#"registry.example/no: "x" #1"#;
    for (template, name, values) in [
        ("rust-service", "no", json!({})),
        ("rust-service", "null", json!({ "image": image })),
        ("python-service", "true", json!({})),
        ("python-service", "on", json!({ "image": image })),
    ] {
        let wanted = values["image"].as_str().unwrap_or(name).to_owned();
        let files = files(template, name, &["no", "on"], values);
        for file in files.iter().filter(|file| file.path.starts_with("deploy/")) {
            let Content::File { bytes, .. } = &file.content else {
                panic!("no link")
            };
            let manifest: Value =
                serde_saphyr::from_str(std::str::from_utf8(bytes).unwrap()).unwrap();
            let at = |pointer: &str, expect: &str| {
                if let Some(value) = manifest.pointer(pointer) {
                    assert_eq!(value, expect, "{template} {}{pointer}", file.path);
                }
            };
            at("/images/0/newTag", file.path.split('/').nth(2).unwrap());
            at("/images/0/newName", &wanted);
            at("/spec/selector/app.kubernetes.io~1name", name);
            at("/spec/selector/matchLabels/app.kubernetes.io~1name", name);
            at(
                "/spec/template/metadata/labels/app.kubernetes.io~1name",
                name,
            );
            if file.path.contains("overlays") {
                at("/images/0/name", &wanted);
            }
        }
    }
}
