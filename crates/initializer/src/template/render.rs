//! Renders a template: names, contents and symlink targets. A pure function of the template and the
//! scope of its expressions.

use std::collections::BTreeMap;

use serde_json::Value;

use super::texts::{Rendered, Rendering, Results, Texts};
use super::{
    Content, Entry, RenderError, Template, TemplateError, language, limits, path, symlink,
    undecodable,
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
pub fn render(template: &Template, scope: &Value) -> Result<Vec<Entry>, RenderError> {
    if template.is_copied {
        return Ok(copy(&template.entries)?);
    }
    let plan = Plan::of(template, scope)?;
    let mut results = plan.texts.render(template.is_builtin)?;
    Ok(plan.entries(&mut results)?)
}

/// Renderings that make the files of a project, in the order in which they are done.
struct Plan<'a> {
    texts: Texts,
    files: Vec<PlannedFile<'a>>,
    folders: Vec<(&'a str, Rendering)>,
}

/// A file in one scope.
struct PlannedFile<'a> {
    entry: &'a Entry,
    path: Rendering,
    /// `None` for what is copied.
    content: Option<Rendering>,
}

impl<'a> Plan<'a> {
    fn of(template: &'a Template, scope: &Value) -> Result<Self, TemplateError> {
        let scopes = scopes(scope);
        let environments = 1..scopes.len();
        let scopes_of = |path: &str| {
            if language::mentions(path, "environment") {
                environments.clone()
            } else {
                0..1
            }
        };
        let mut texts = Texts::new(scopes);
        let mut files = Vec::with_capacity(template.entries.len());
        for entry in &template.entries {
            let path = texts.text(&entry.path);
            let content = rendered_text(template, entry)?.map(|text| texts.text(text));
            for scope in scopes_of(&entry.path) {
                files.push(PlannedFile {
                    entry,
                    path: texts.rendering(path, scope),
                    content: content.map(|text| texts.rendering(text, scope)),
                });
            }
        }
        let mut folders = Vec::new();
        for folder in &template.manifest.directories {
            let folder = folder.trim_end_matches('/');
            let text = texts.text(folder);
            for scope in scopes_of(folder) {
                folders.push((folder, texts.rendering(text, scope)));
            }
        }
        Ok(Self {
            texts,
            files,
            folders,
        })
    }

    /// The files, of what the texts gave.
    fn entries(&self, results: &mut Results) -> Result<Vec<Entry>, TemplateError> {
        let mut entries = Vec::with_capacity(self.files.len());
        for file in &self.files {
            entries.push(file.rendered(results)?);
        }
        for (folder, rendering) in &self.folders {
            let path = checked_path(folder, results.take(*rendering))?;
            keep(&mut entries, &path);
        }
        entries.sort();
        check(&entries)?;
        Ok(entries)
    }
}

/// Scopes of expressions: the general one, then one for each environment.
fn scopes(scope: &Value) -> Vec<Value> {
    let environments = scope.get("environments").and_then(Value::as_array);
    let with = |environment: &Value| {
        let mut scope = scope.clone();
        scope["environment"] = environment.clone();
        scope
    };
    std::iter::once(scope.clone())
        .chain(environments.into_iter().flatten().map(with))
        .collect()
}

/// The text of a file or link that is rendered; `None` for what is copied.
fn rendered_text<'a>(
    template: &Template,
    entry: &'a Entry,
) -> Result<Option<&'a str>, TemplateError> {
    let text = match &entry.content {
        Content::File { .. } if template.manifest.is_raw(&entry.path) => return Ok(None),
        Content::File { bytes, .. } => text_of(bytes),
        Content::Symlink { target } => Some(target.as_str()),
    };
    if let (None, Content::File { bytes, .. }) = (text, &entry.content) {
        undecodable::check(entry, bytes, false)?;
    }
    Ok(text)
}

impl PlannedFile<'_> {
    fn rendered(&self, results: &mut Results) -> Result<Entry, TemplateError> {
        let entry = self.entry;
        let at = |message: String| TemplateError::at(&entry.path, message);
        let path = checked_path(&entry.path, results.take(self.path))?;
        let text = self.content.map(|content| results.take(content));
        let text = text.transpose().map_err(at)?;
        let content = match (&entry.content, text) {
            (Content::Symlink { .. }, Some(target)) => Content::Symlink { target },
            (Content::File { executable, .. }, Some(text)) => Content::File {
                bytes: text.into_bytes(),
                executable: *executable,
            },
            (copied, None) => copied.clone(),
        };
        Ok(Entry { path, content })
    }
}

/// A rendered path, if a project may have it.
fn checked_path(text: &str, rendered: Rendered) -> Result<String, TemplateError> {
    let at = |message: String| TemplateError::at(text, message);
    let path = rendered.map_err(|message| at(format!("its name, {message}")))?;
    path::check(&path).map_err(at)?;
    Ok(path)
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
fn keep(entries: &mut Vec<Entry>, folder: &str) {
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
        render(&template(entries), &scope()).map_err(|error| error.to_string())
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
