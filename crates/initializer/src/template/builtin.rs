//! The built-in templates, embedded byte for byte by `build.rs`.

use super::{Content, Entry, Template, TemplateError};

/// A file as `build.rs` embedded it.
struct Embedded {
    path: &'static str,
    bytes: &'static [u8],
    executable: bool,
}

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// Names of the built-in templates.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|(name, _)| *name)
}

/// A built-in template; `None` if there is none of that name.
///
/// # Errors
/// Never, unless the embedded content is broken.
pub fn builtin(name: &str) -> Option<Result<Template, TemplateError>> {
    let (_, files) = TEMPLATES.iter().find(|(known, _)| *known == name)?;
    let template = Template::new(name, None, files.iter().map(Embedded::entry).collect());
    Some(template.map(|template| Template {
        is_builtin: true,
        ..template
    }))
}

impl Embedded {
    fn entry(&self) -> Entry {
        let content = Content::File {
            bytes: self.bytes.to_vec(),
            executable: self.executable,
        };
        Entry {
            path: self.path.to_owned(),
            content,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::template::load_folder;

    #[test]
    fn built_in_templates_equal_the_directory() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("templates");
        assert_eq!(
            builtin_names().collect::<Vec<_>>(),
            ["python-service", "rust-service"]
        );
        for name in builtin_names() {
            let embedded = builtin(name).unwrap().unwrap();
            assert_eq!(
                embedded.version,
                load_folder(&folder.join(name)).unwrap().version,
                "{name}"
            );
            assert!(embedded.manifest.description.is_some(), "{name}");
        }
        assert!(builtin("gone").is_none());
    }
}
