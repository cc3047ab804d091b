//! Fuzzing of templates: manifests, files, names and links, from loading to the rendered project.

use serde_json::{Value, json};
use surefoot_fuzz::{Grammar, Random, TEMPLATE_WORDS, fuzz, mutate, mutate_text};
use surefoot_initializer::template::{Content, Entry, Template, render};

const MANIFEST: &str = include_str!("../templates/rust-service/surefoot-template.yaml");
const FILES: &[&str] = &[
    include_str!("../templates/rust-service/README.md"),
    include_str!("../templates/rust-service/Dockerfile"),
    include_str!("../templates/rust-service/deploy/base/deployment.yaml"),
];

const MANIFEST_WORDS: &[&str] = &[
    "title: ",
    "description: ",
    "parameters: ",
    "raw: ",
    "directories: ",
    "- '**'",
    "- '[a-'",
    "properties: ",
    "default: ",
    "type: object",
    "$ref: '#'",
];

fn file(path: String, bytes: Vec<u8>) -> Entry {
    Entry {
        path,
        content: Content::File {
            bytes,
            executable: false,
        },
    }
}

fn path(random: &mut Random) -> String {
    let parts = [
        "a",
        "b.txt",
        "${{ name }}",
        "${{ environment.name }}",
        "..",
        ".",
        "",
        ".git",
        "x\\y",
        "CON",
        "é",
        "${% if name %}c${% endif %}",
        " ",
        "a\0b",
    ];
    let parts: Vec<&str> = (0..=random.below(4))
        .map(|_| *random.pick(&parts))
        .collect();
    parts.join("/")
}

fn scope(random: &mut Random) -> Value {
    let values = Grammar { random }.value(2);
    json!({
        "name": "shop",
        "title": "A shop",
        "values": { "list": [1, 2, "three"], "more": values },
        "environments": [{ "name": "dev" }, { "name": "prod" }],
    })
}

#[test]
fn templates() {
    fuzz("templates", 1000, |random| {
        let mut entries = Vec::new();
        if random.chance(40) {
            let manifest = mutate(random, MANIFEST.as_bytes(), MANIFEST_WORDS);
            entries.push(file("surefoot-template.yaml".to_owned(), manifest));
        }
        for _ in 0..=random.below(4) {
            let at = path(random);
            let content = match random.below(4) {
                0 => {
                    let text = *random.pick(FILES);
                    mutate(random, text.as_bytes(), TEMPLATE_WORDS)
                }
                1 => {
                    let text = Grammar { random }.template();
                    mutate(random, text.as_bytes(), TEMPLATE_WORDS)
                }
                _ => Grammar { random }.template().into_bytes(),
            };
            entries.push(file(at, content));
        }
        if random.chance(20) {
            let target = path(random);
            let target = mutate_text(random, &target, &["../", "/"]);
            let content = Content::Symlink { target };
            entries.push(Entry {
                path: "link".to_owned(),
                content,
            });
        }
        let Ok(template) = Template::new("fuzzed", None, entries) else {
            return;
        };
        let scope = scope(random);
        let Ok(rendered) = render(&template, &scope) else {
            return;
        };
        // Rendering is a pure function, and nothing leaves the project.
        let again = render(&template, &scope);
        assert!(again.is_ok_and(|again| again == rendered));
        for entry in &rendered {
            let mut parts = entry.path.split('/');
            assert!(
                parts.all(|part| !part.is_empty() && part != ".." && part != ".git"),
                "{}",
                entry.path
            );
        }
    });
}

#[test]
fn manifests() {
    fuzz("manifests", 1000, |random| {
        let bytes = mutate(random, MANIFEST.as_bytes(), MANIFEST_WORDS);
        let entries = vec![file("surefoot-template.yaml".to_owned(), bytes)];
        if let Ok(template) = Template::new("fuzzed", None, entries) {
            let values = Grammar { random }.value(2);
            let _ = template.check_values(values);
            let _ = template.check_values(json!({}));
        }
    });
}
