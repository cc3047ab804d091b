//! Renders a template: names, contents and symlink targets. A pure function of the template and the
//! scope of its expressions.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{
    Content, Entry, Template, TemplateError, language, limits, path, symlink, undecodable,
};

/// Renders a template to the files of a project, by path. `scope` has the variables of its
/// expressions.
///
/// A path that reads `environment` gives one file for each item of the scope's `environments`,
/// which its content sees as `environment` too.
///
/// # Errors
/// Names the file, and the line within it, of an undefined value; a path or symlink that would
/// leave the project; two paths that are one on a case-insensitive file system.
pub fn render(template: &Template, scope: &Value) -> Result<Vec<Entry>, TemplateError> {
    if template.is_copied {
        return copy(&template.entries);
    }
    let scopes = Scopes::new(scope)?;
    let mut entries = Vec::with_capacity(template.entries.len());
    for entry in &template.entries {
        for scope in scopes.of(&entry.path) {
            entries.push(render_entry(template, entry, scope)?);
        }
    }
    for folder in &template.manifest.directories {
        for scope in scopes.of(folder) {
            keep(&mut entries, folder, scope)?;
        }
    }
    entries.sort();
    check(&entries)?;
    Ok(entries)
}

/// Files of a template that is copied as it is, within the rules for every project.
fn copy(entries: &[Entry]) -> Result<Vec<Entry>, TemplateError> {
    for entry in entries {
        path::check(&entry.path).map_err(|message| TemplateError::at(&entry.path, message))?;
        if let Content::File { bytes, .. } = &entry.content
            && text_of(bytes).is_none()
        {
            undecodable::check(entry, bytes, true)?;
        }
    }
    check(entries)?;
    Ok(entries.to_vec())
}

/// Scopes of expressions: the general one, and one for each environment.
struct Scopes {
    whole: [minijinja::Value; 1],
    environments: Vec<minijinja::Value>,
}

impl Scopes {
    fn new(scope: &Value) -> Result<Self, TemplateError> {
        let environments = scope
            .get("environments")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let with = |environment: &Value| {
            let mut scope = scope.clone();
            scope["environment"] = environment.clone();
            seen(&scope)
        };
        Ok(Self {
            whole: [seen(scope)?],
            environments: environments.iter().map(with).collect::<Result<_, _>>()?,
        })
    }

    fn of(&self, path: &str) -> &[minijinja::Value] {
        if language::mentions(path, "environment") {
            &self.environments
        } else {
            &self.whole
        }
    }
}

/// Converts the scope for the template language.
fn seen(scope: &Value) -> Result<minijinja::Value, TemplateError> {
    minijinja::Value::deserialize(scope)
        .map_err(|error| TemplateError(format!("the template's values: {error}")))
}

fn render_entry(
    template: &Template,
    entry: &Entry,
    scope: &minijinja::Value,
) -> Result<Entry, TemplateError> {
    let at = |message: String| TemplateError::at(&entry.path, message);
    let path = render_path(&entry.path, scope)?;
    let content = match &entry.content {
        Content::File { bytes, executable } => {
            let bytes = if template.manifest.is_raw(&entry.path) {
                bytes.clone()
            } else {
                rendered(entry, bytes, scope)?
            };
            Content::File {
                bytes,
                executable: *executable,
            }
        }
        Content::Symlink { target } => Content::Symlink {
            target: language::render(target, scope).map_err(at)?,
        },
    };
    Ok(Entry { path, content })
}

fn rendered(
    entry: &Entry,
    bytes: &[u8],
    scope: &minijinja::Value,
) -> Result<Vec<u8>, TemplateError> {
    let Some(text) = text_of(bytes) else {
        undecodable::check(entry, bytes, false)?;
        return Ok(bytes.to_vec());
    };
    let text =
        language::render(text, scope).map_err(|message| TemplateError::at(&entry.path, message))?;
    Ok(text.into_bytes())
}

fn render_path(text: &str, scope: &minijinja::Value) -> Result<String, TemplateError> {
    let at = |message: String| TemplateError::at(text, message);
    let path =
        language::render(text, scope).map_err(|message| at(format!("its name, {message}")))?;
    path::check(&path).map_err(at)?;
    Ok(path)
}

/// Length of a file's beginning that decides between text and binary; Git uses the same length.
const SNIFFED: usize = 8000;

/// A file's text, if it is a text: binary files are copied unchanged.
fn text_of(bytes: &[u8]) -> Option<&str> {
    if bytes[..bytes.len().min(SNIFFED)].contains(&0) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// Git keeps no empty directory: one gets an empty `.gitkeep`, unless it contains a file anyway.
fn keep(
    entries: &mut Vec<Entry>,
    folder: &str,
    scope: &minijinja::Value,
) -> Result<(), TemplateError> {
    let folder = render_path(folder.trim_end_matches('/'), scope)?;
    let inside = format!("{folder}/");
    if !entries.iter().any(|entry| entry.path.starts_with(&inside)) {
        let content = Content::File {
            bytes: Vec::new(),
            executable: false,
        };
        entries.push(Entry {
            path: format!("{inside}.gitkeep"),
            content,
        });
    }
    Ok(())
}

fn check(entries: &[Entry]) -> Result<(), TemplateError> {
    limits::check(entries)?;
    collisions(entries)?;
    let links = entries.iter().filter_map(link).collect::<BTreeMap<_, _>>();
    links.keys().try_for_each(|path| {
        symlink::check(path, &links).map_err(|message| TemplateError::at(path, message))
    })
}

fn link(entry: &Entry) -> Option<(&str, &str)> {
    match &entry.content {
        Content::Symlink { target } => Some((&entry.path, target)),
        Content::File { .. } => None,
    }
}

/// Refuses two files at one path, even if only the letters' case differs, and a file where another
/// needs a directory.
fn collisions(entries: &[Entry]) -> Result<(), TemplateError> {
    let mut files = BTreeMap::new();
    for entry in entries {
        if let Some(other) = files.insert(path::folded(&entry.path), &entry.path) {
            let message = format!(
                "`{other}` and `{}` are one file where letter case does not count",
                entry.path
            );
            return Err(TemplateError(message));
        }
    }
    let mut folders: BTreeMap<String, &str> = BTreeMap::new();
    for entry in entries {
        for (end, _) in entry.path.match_indices('/') {
            folder(&files, &mut folders, &entry.path[..end])?;
        }
    }
    Ok(())
}

fn folder<'a>(
    files: &BTreeMap<String, &String>,
    folders: &mut BTreeMap<String, &'a str>,
    path: &'a str,
) -> Result<(), TemplateError> {
    let folded = path::folded(path);
    if files.contains_key(&folded) {
        return Err(TemplateError(format!(
            "`{path}` is a file, and a folder for other files"
        )));
    }
    match folders.insert(folded, path) {
        Some(other) if other != path => Err(TemplateError(format!(
            "`{other}` and `{path}` are one folder where letter case does not count"
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{file, symlink, template};
    use super::*;

    fn scope() -> Value {
        json!({
            "name": "my-shop", "description": "", "evil": "../up", "empty": "", "git": ".GIT",
            "environments": [{ "name": "staging" }, { "name": "production" }],
        })
    }

    fn rendered(entries: impl IntoIterator<Item = Entry>) -> Result<Vec<Entry>, String> {
        render(&template(entries), &scope()).map_err(|error| error.0)
    }

    fn refused(entry: Entry, expect: &str) {
        let error = rendered([entry.clone()]).expect_err(&entry.path);
        assert!(
            error.contains(expect) && error.contains(&entry.path),
            "{error}"
        );
    }

    #[test]
    fn names_and_contents_are_rendered() {
        let entries = [
            file(
                "src/${{ name | replace('-', '_') }}/mod.rs",
                "// ${{ name }}\n",
            ),
            file("a", "x"),
        ];
        assert_eq!(
            rendered(entries).unwrap(),
            [file("a", "x"), file("src/my_shop/mod.rs", "// my-shop\n")]
        );
    }

    #[test]
    fn a_path_that_reads_the_environment_gives_one_file_for_each() {
        let entries = [file(
            "deploy/${{ environment.name }}/k.yaml",
            "on: ${{ environment.name }}",
        )];
        let expect = [
            file("deploy/production/k.yaml", "on: production"),
            file("deploy/staging/k.yaml", "on: staging"),
        ];
        assert_eq!(rendered(entries).unwrap(), expect);
    }

    #[test]
    fn paths_that_would_leave_the_project_are_refused() {
        refused(file("${{ evil }}", ""), "stay inside");
        refused(file("a/${{ evil }}/${{ evil }}", ""), "stay inside");
        refused(file("${{ '/etc/x' }}", ""), "absolute");
        refused(file("${{ empty }}", ""), "empty");
        refused(file("a/${{ empty }}/b", ""), "empty");
        refused(file("${{ git }}/hooks/post-checkout", ""), "belongs to Git");
        refused(symlink("a", "${{ evil }}"), "leads out");
        refused(symlink("a", "/etc/passwd"), "leads out");
    }

    #[test]
    fn links_inside_and_modes_are_kept() {
        let tool = Entry {
            path: "bin/run".to_owned(),
            content: Content::File {
                bytes: b"#!/bin/sh\n".to_vec(),
                executable: true,
            },
        };
        let entries = [tool.clone(), symlink("run", "bin/run")];
        assert_eq!(
            rendered(entries).unwrap(),
            [tool, symlink("run", "bin/run")]
        );
    }

    #[test]
    fn binary_files_are_copied_untouched() {
        let logo = |bytes: &[u8]| Entry {
            path: "logo.png".to_owned(),
            content: Content::File {
                bytes: bytes.to_vec(),
                executable: false,
            },
        };
        for bytes in [b"\0PNG\r\n${{".as_slice(), b"\xff\xfe\r\n"] {
            assert_eq!(rendered([logo(bytes)]).unwrap(), [logo(bytes)]);
        }
        let raw = file("surefoot-template.yaml", "raw: ['*.png']");
        for bytes in [b"\0${{ name }}\r\n".as_slice(), b"\xff\xfe${{ name }}"] {
            let error = rendered([logo(bytes)]).unwrap_err();
            assert!(
                error.contains("logo.png")
                    && error.contains("${{ name }}")
                    && error.contains("raw"),
                "{error}"
            );
            assert_eq!(rendered([raw.clone(), logo(bytes)]).unwrap(), [logo(bytes)]);
        }
    }

    #[test]
    fn raw_files_keep_their_own_expressions() {
        let manifest = file("surefoot-template.yaml", "raw: ['.github/**']");
        let ci = file(".github/workflows/ci.yml", "${{ github.ref }}");
        assert_eq!(rendered([manifest, ci.clone()]).unwrap(), [ci]);
    }

    #[test]
    fn folders_of_the_manifest_are_kept_unless_a_file_is_in_them() {
        let manifest = file(
            "surefoot-template.yaml",
            "directories: ['logs', 'src/', '${{ name }}/in']",
        );
        let expect = [
            file("logs/.gitkeep", ""),
            file("my-shop/in/.gitkeep", ""),
            file("src/a", ""),
        ];
        assert_eq!(rendered([manifest, file("src/a", "")]).unwrap(), expect);
        refused_folder("..");
        refused_folder("${{ evil }}");
    }

    fn refused_folder(folder: &str) {
        let manifest = file(
            "surefoot-template.yaml",
            &format!("directories: ['{folder}']"),
        );
        assert!(rendered([manifest]).unwrap_err().contains("stay inside"));
    }

    #[test]
    fn an_undefined_value_names_file_and_line() {
        let error = rendered([file("src/a.txt", "one\ntwo ${{ nmae }}\n")]).unwrap_err();
        assert!(
            error.contains("src/a.txt") && error.contains("line 2") && error.contains("undefined"),
            "{error}"
        );
        let error = rendered([file("${{ nmae }}.txt", "")]).unwrap_err();
        assert!(
            error.contains("its name") && error.contains("undefined"),
            "{error}"
        );
    }

    #[test]
    fn two_files_never_share_a_path() {
        let check = |a: &str, b: &str| {
            let error = rendered([file(a, ""), file(b, "")]).unwrap_err();
            assert!(
                error.contains("one f") || error.contains("a folder for"),
                "{error}"
            );
        };
        check("README", "Readme");
        check("${{ name }}", "my-shop");
        check("a", "a/b");
        check("A", "a/b");
        check("Dir/a", "dir/b");
    }
}
