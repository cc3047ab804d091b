//! Secret parameters: those whose schema says `writeOnly: true` or `format: password`.
//!
//! A schema can say so in many places at once; one of them is enough, whether or not its branch of
//! an `anyOf` holds.

use std::collections::HashMap;

use serde_json::Value;

use crate::Secret;

/// Replacement of a secret.
pub const MASK: &str = "\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}";

/// Schemas that hold for a value as well as the one that names them.
const BESIDE: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const BRANCHES: [&str; 3] = ["if", "then", "else"];

/// Returns true if this schema, without those that it refers to, marks its value as secret.
pub fn is_secret(schema: &Value) -> bool {
    schema["writeOnly"] == Value::Bool(true) || schema["format"] == "password"
}

/// The secret values among parameters, each with its JSON pointer.
pub fn secrets<'v>(schema: &Value, parameters: &'v Value) -> Vec<(String, &'v Value)> {
    if !marks_anything(schema) {
        return Vec::new();
    }
    let mut search = Search {
        root: schema,
        patterns: Patterns::default(),
        found: Vec::new(),
    };
    search.look(&[schema], parameters, String::new());
    search.found
}

/// The parameters with the secret ones replaced, whatever their type and length.
pub fn without_secrets(schema: &Value, parameters: &Value) -> Value {
    let mut shown = parameters.clone();
    for (pointer, secret) in secrets(schema, parameters) {
        if !secret.is_null()
            && let Some(shown) = shown.pointer_mut(&pointer)
        {
            *shown = MASK.into();
        }
    }
    shown
}

/// The texts and numbers in the secret parameters, to be masked.
pub(crate) fn secret_texts(schema: &Value, parameters: &Value) -> Vec<Secret> {
    let mut texts = Vec::new();
    for (_, secret) in secrets(schema, parameters) {
        collect_texts(secret, &mut texts);
    }
    texts
}

fn collect_texts(secret: &Value, texts: &mut Vec<Secret>) {
    match secret {
        Value::String(text) => texts.push(Secret::new(text.as_str())),
        Value::Number(number) => texts.push(Secret::new(number.to_string())),
        Value::Array(items) => {
            for item in items {
                collect_texts(item, texts);
            }
        }
        Value::Object(fields) => {
            for field in fields.values() {
                collect_texts(field, texts);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// Returns whether a schema marks anything as secret, anywhere in it.
pub(super) fn marks_anything(schema: &Value) -> bool {
    match schema {
        Value::Object(fields) => is_secret(schema) || fields.values().any(marks_anything),
        Value::Array(items) => items.iter().any(marks_anything),
        _ => false,
    }
}

struct Search<'s, 'v> {
    root: &'s Value,
    patterns: Patterns<'s>,
    found: Vec<(String, &'v Value)>,
}

impl<'s, 'v> Search<'s, 'v> {
    /// Looks at a value for which all of these schemas hold.
    fn look(&mut self, schemas: &[&'s Value], value: &'v Value, pointer: String) {
        let mut all = Vec::new();
        for schema in schemas {
            self.with_named(schema, &mut all);
        }
        if all.iter().any(|schema| is_secret(schema)) {
            self.found.push((pointer, value));
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let patterns = &mut self.patterns;
                    let of_field: Vec<_> = all
                        .iter()
                        .flat_map(|schema| of_property(schema, name, patterns))
                        .collect();
                    self.look(
                        &of_field,
                        field,
                        format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")),
                    );
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let of_item: Vec<_> =
                        all.iter().flat_map(|schema| of_item(schema, at)).collect();
                    self.look(&of_item, item, format!("{pointer}/{at}"));
                }
            }
            _ => {}
        }
    }

    /// A schema and all that it names for the same value. One that names itself ends there.
    fn with_named(&self, schema: &'s Value, all: &mut Vec<&'s Value>) {
        if all.iter().any(|known| std::ptr::eq(*known, schema)) {
            return;
        }
        all.push(schema);
        for name in ["$ref", "$dynamicRef"] {
            let target = schema[name]
                .as_str()
                .and_then(|reference| self.target(reference));
            if let Some(target) = target {
                self.with_named(target, all);
            }
        }
        let listed = BESIDE
            .iter()
            .filter_map(|name| schema[name].as_array())
            .flatten();
        let branches = BRANCHES.iter().filter_map(|name| schema.get(name));
        let dependent = ["dependentSchemas", "dependencies"];
        let dependent = dependent
            .iter()
            .filter_map(|name| schema[name].as_object())
            .flat_map(|each| each.values());
        for named in listed.chain(branches).chain(dependent) {
            self.with_named(named, all);
        }
    }

    /// Resolves a reference within the document.
    fn target(&self, reference: &str) -> Option<&'s Value> {
        let fragment = reference.strip_prefix('#')?;
        if fragment.is_empty() || fragment.starts_with('/') {
            return self.root.pointer(&unescaped(fragment));
        }
        let named =
            |schema: &&Value| schema["$anchor"] == fragment || schema["$dynamicAnchor"] == fragment;
        let tables = ["$defs", "definitions"]
            .into_iter()
            .filter_map(|name| self.root[name].as_object());
        tables.flat_map(|table| table.values()).find(named)
    }
}

fn of_property<'s>(schema: &'s Value, name: &str, known: &mut Patterns<'s>) -> Vec<&'s Value> {
    let mut found: Vec<&Value> = schema["properties"].get(name).into_iter().collect();
    let patterns = schema["patternProperties"]
        .as_object()
        .into_iter()
        .flatten();
    found.extend(
        patterns
            .filter(|(pattern, _)| known.matches(pattern, name))
            .map(|(_, schema)| schema),
    );
    if found.is_empty() {
        found.extend(schema.get("additionalProperties"));
    }
    // The properties that other schemas leave unevaluated are not computed: rather hide too much.
    found.extend(schema.get("unevaluatedProperties"));
    found
}

fn of_item(schema: &Value, at: usize) -> Vec<&Value> {
    let items = &schema["items"];
    // Older drafts have the list in `items`, and what follows in `additionalItems`.
    let first = schema["prefixItems"]
        .as_array()
        .or(items.as_array())
        .and_then(|first| first.get(at));
    let rest = if items.is_array() {
        schema.get("additionalItems")
    } else {
        schema.get("items")
    };
    let mut found: Vec<&Value> = first.or(rest).into_iter().collect();
    found.extend(schema.get("contains"));
    found.extend(schema.get("unevaluatedItems"));
    found
}

/// The patterns of a schema made ready for use, each once.
#[derive(Default)]
struct Patterns<'s>(HashMap<&'s str, Option<jsonschema::Validator>>);

impl<'s> Patterns<'s> {
    /// By the rules of the schemas themselves. A pattern that they do not understand is taken to
    /// match.
    fn matches(&mut self, pattern: &'s str, name: &str) -> bool {
        let ready = self.0.entry(pattern).or_insert_with(|| {
            let schema = serde_json::json!({ "pattern": pattern });
            jsonschema::validator_for(&schema).ok()
        });
        ready
            .as_ref()
            .is_none_or(|schema| schema.is_valid(&name.into()))
    }
}

/// `%25` for `%`, as addresses have it.
fn unescaped(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after
            .get(..2)
            .and_then(|code| std::str::from_utf8(code).ok());
        if first == b'%'
            && let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok())
        {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_schema_marks_is_seen_nowhere() {
        let schema = json!({ "properties": {
            "name": { "type": "string" },
            "password": { "type": "string", "writeOnly": true },
            "database": { "properties": { "key": { "type": "string", "format": "password" }, "host": {} } },
            "tokens": { "items": { "writeOnly": true } },
        }});
        let given = json!({ "name": "shop", "password": "hunter22", "database": { "key": "k3y-of-db", "host": "db" },
                            "tokens": ["tok-1", "x"] });
        let masked = without_secrets(&schema, &given);
        assert_eq!(
            masked,
            json!({ "name": "shop", "password": MASK, "database": { "key": MASK, "host": "db" }, "tokens": [MASK, MASK] })
        );
        let texts = secret_texts(&schema, &given);
        assert_eq!(
            texts.iter().map(Secret::expose).collect::<Vec<_>>(),
            ["hunter22", "k3y-of-db", "tok-1", "x"]
        );
    }

    #[test]
    fn a_mark_is_found_wherever_a_schema_can_put_it() {
        let check = |schema: Value, given: Value, expect: &[&str]| {
            let found: Vec<_> = secrets(&schema, &given)
                .into_iter()
                .map(|(pointer, _)| pointer)
                .collect();
            assert_eq!(found, expect, "{schema}");
        };
        let secret = json!({ "writeOnly": true });
        let given = json!({ "a": "one", "b": ["two", "three"], "x-y/z": "four" });
        check(
            json!({ "$defs": { "s": secret }, "properties": { "a": { "$ref": "#/$defs/s" } } }),
            given.clone(),
            &["/a"],
        );
        check(
            json!({ "$defs": { "a b": { "writeOnly": true } }, "properties": { "a": { "$ref": "#/$defs/a%20b" } } }),
            given.clone(),
            &["/a"],
        );
        check(
            json!({ "definitions": { "s": { "$anchor": "S", "format": "password" } }, "properties": { "a": { "$ref": "#S" } } }),
            given.clone(),
            &["/a"],
        );
        for beside in BESIDE {
            check(
                json!({ beside: [{}, { "properties": { "a": secret } }] }),
                given.clone(),
                &["/a"],
            );
            check(
                json!({ "properties": { "a": { beside: [{ "type": "integer" }, secret] } } }),
                given.clone(),
                &["/a"],
            );
        }
        for branch in BRANCHES {
            check(
                json!({ branch: { "properties": { "a": secret } } }),
                given.clone(),
                &["/a"],
            );
        }
        check(
            json!({ "dependentSchemas": { "b": { "properties": { "a": secret } } } }),
            given.clone(),
            &["/a"],
        );
        check(
            json!({ "properties": { "a": {} }, "additionalProperties": secret }),
            given.clone(),
            &["/b", "/x-y~1z"],
        );
        check(
            json!({ "patternProperties": { "^x-": secret } }),
            given.clone(),
            &["/x-y~1z"],
        );
        check(
            json!({ "properties": { "b": { "prefixItems": [secret] } } }),
            given.clone(),
            &["/b/0"],
        );
        check(
            json!({ "properties": { "b": { "prefixItems": [{}], "items": secret } } }),
            given.clone(),
            &["/b/1"],
        );
        check(
            json!({ "properties": { "b": { "items": [{}], "additionalItems": secret } } }),
            given.clone(),
            &["/b/1"],
        );
        check(
            json!({ "properties": { "a": true, "b": false } }),
            given,
            &[],
        );
    }

    #[test]
    fn a_schema_that_names_itself_has_an_end() {
        let schema = json!({
            "$ref": "#",
            "allOf": [{ "$ref": "#" }],
            "properties": { "child": { "$ref": "#" }, "key": { "writeOnly": true } },
        });
        let given = json!({ "child": { "child": { "key": "deep" } } });
        assert_eq!(
            secrets(&schema, &given),
            [("/child/child/key".to_owned(), &json!("deep"))]
        );
    }
}
