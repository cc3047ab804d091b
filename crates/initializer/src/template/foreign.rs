//! Recognises templates of other tools. Copied as they are they would give a project full of
//! unrendered placeholders.

use super::{Content, Entry, manifest};

/// A template of another tool, which Surefoot does not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is a {tool} template ({file} tells), which Surefoot does not read: it renders templates that have a {} and copies plain \
     repositories; use the folder that {tool} makes of it, or add a {0} (with `raw: [\"**\"]` everything is copied as it is)",
    manifest::FILE
)]
pub struct ForeignTemplate {
    /// The tool's name.
    pub tool: &'static str,
    /// The file by which the template is recognised.
    pub file: String,
}

/// A tool whose templates Surefoot cannot read.
struct Tool {
    name: &'static str,
    /// Predicate for the file or directory by which a template of the tool is recognised.
    sign: fn(&Entry) -> bool,
}

const TOOLS: [Tool; 8] = [
    Tool {
        name: "cookiecutter",
        sign: |entry| {
            let placeholder = |part: &str| part.contains("{{") && part.contains("cookiecutter");
            is_near_top(entry, &["cookiecutter.json"]) || entry.path.split('/').any(placeholder)
        },
    },
    Tool {
        name: "copier",
        sign: |entry| {
            is_near_top(entry, &["copier.yml", "copier.yaml"])
                || entry.path.contains("_copier_conf")
        },
    },
    Tool {
        name: "cargo-generate",
        sign: |entry| {
            let names = ["project-name", "crate_name"];
            is_near_top(entry, &["cargo-generate.toml"])
                || is_near_top(entry, &["Cargo.toml"]) && has_liquid(text(entry), &names)
        },
    },
    Tool {
        name: "Backstage",
        sign: is_backstage,
    },
    Tool {
        name: "Yeoman",
        sign: |entry| entry.path == "package.json" && text(entry).contains("\"yeoman-generator\""),
    },
    Tool {
        name: "Giter8",
        sign: |entry| entry.path == "src/main/g8/default.properties",
    },
    Tool {
        name: "Maven archetype",
        sign: |entry| {
            entry
                .path
                .ends_with("META-INF/maven/archetype-metadata.xml")
        },
    },
    Tool {
        name: "dotnet new",
        sign: |entry| entry.path == ".template.config/template.json",
    },
];

/// Refuses a template of another tool without a Surefoot manifest.
///
/// # Errors
/// Names the tool, the file that identifies it, and what can be done.
pub(super) fn check(entries: &[Entry]) -> Result<(), ForeignTemplate> {
    for tool in &TOOLS {
        if let Some(entry) = entries.iter().find(|entry| (tool.sign)(entry)) {
            return Err(ForeignTemplate {
                tool: tool.name,
                file: entry.path.clone(),
            });
        }
    }
    Ok(())
}

/// Returns whether a file of one of these names is at the top or in a directory there: some
/// repositories contain several templates.
fn is_near_top(entry: &Entry, names: &[&str]) -> bool {
    let (folder, name) = entry.path.rsplit_once('/').unwrap_or(("", &entry.path));
    !folder.contains('/') && names.contains(&name)
}

/// Recognises a YAML file of the kind Template with Backstage's API.
fn is_backstage(entry: &Entry) -> bool {
    let is_yaml = [".yaml", ".yml"]
        .iter()
        .any(|end| entry.path.ends_with(end));
    if !is_yaml {
        return false;
    }
    let has = |field: &str, fits: fn(&str) -> bool| {
        let values = text(entry)
            .lines()
            .filter_map(|line| line.strip_prefix(field));
        values
            .map(|value| value.trim().trim_matches(['"', '\'']))
            .any(fits)
    };
    has("kind:", |kind| kind == "Template")
        && has("apiVersion:", |version| version.contains("backstage.io/"))
}

/// Returns whether a text has a Liquid placeholder that begins with one of `names`.
fn has_liquid(text: &str, names: &[&str]) -> bool {
    let mut placeholders = text.split("{{").skip(1).map(str::trim_start);
    placeholders.any(|inside| names.iter().any(|name| inside.starts_with(name)))
}

/// A file's text; empty for a symlink and for invalid UTF-8.
fn text(entry: &Entry) -> &str {
    match &entry.content {
        Content::File { bytes, .. } => std::str::from_utf8(bytes).unwrap_or_default(),
        Content::Symlink { .. } => "",
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::file;
    use super::*;

    #[test]
    fn each_tool_is_named() {
        let refused = |path: &str, content: &str, tool: &str| {
            let error = check(&[file("a", ""), file(path, content)])
                .expect_err(path)
                .to_string();
            assert!(
                error.contains(&format!("a {tool} template ({path}")),
                "{error}"
            );
        };
        refused("cookiecutter.json", "{}", "cookiecutter");
        refused("{{cookiecutter.slug}}/setup.py", "", "cookiecutter");
        refused("flask/{{ cookiecutter.slug }}/setup.py", "", "cookiecutter");
        refused("copier.yml", "", "copier");
        refused("copier.yaml", "", "copier");
        refused("python/copier.yml", "", "copier");
        refused("{{_copier_conf.answers_file}}.jinja", "", "copier");
        refused("cargo-generate.toml", "", "cargo-generate");
        refused("cargo/cargo-generate.toml", "", "cargo-generate");
        refused(
            "Cargo.toml",
            "[package]\nname = \"{{project-name}}\"\n",
            "cargo-generate",
        );
        refused(
            "Cargo.toml",
            "[lib]\nname = \"{{ crate_name }}\"\n",
            "cargo-generate",
        );
        let backstage =
            "# x\napiVersion: scaffolder.backstage.io/v1beta3\nkind: Template\nspec: {}\n";
        refused("template.yaml", backstage, "Backstage");
        refused(
            "templates/node/template.yml",
            &backstage.replace(": Template", ": 'Template'"),
            "Backstage",
        );
        refused(
            "t.yaml",
            "kind: Template\napiVersion: \"backstage.io/v1beta2\"\n",
            "Backstage",
        );
        refused(
            "package.json",
            r#"{"keywords": ["yeoman-generator"]}"#,
            "Yeoman",
        );
        refused("src/main/g8/default.properties", "", "Giter8");
        refused(
            "src/main/resources/META-INF/maven/archetype-metadata.xml",
            "",
            "Maven archetype",
        );
        refused(".template.config/template.json", "{}", "dotnet new");
    }

    #[test]
    fn a_plain_repository_is_accepted() {
        let plain = [
            file(
                "Cargo.toml",
                "[package]\nname = \"shop\"\ndescription = \"{{ text }}\"\n",
            ),
            file(
                "template.yaml",
                "apiVersion: template.openshift.io/v1\nkind: Template\n",
            ),
            file(
                "catalog-info.yaml",
                "apiVersion: backstage.io/v1alpha1\nkind: Component\n",
            ),
            file("tests/templates/one/copier.yml", ""),
            file("tests/templates/two/cargo-generate.toml", ""),
            file(
                "chart/templates/service.yaml",
                "name: {{ .Release.Name }}\n",
            ),
            file(".github/workflows/ci.yml", "env: ${{ secrets.TOKEN }}\n"),
            file("package.json", r#"{"keywords": ["yeoman"]}"#),
        ];
        assert_eq!(check(&plain), Ok(()));
    }
}
