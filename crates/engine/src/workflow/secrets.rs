//! Parameters that nobody shall read: those whose schema says `writeOnly: true` or `format: password`.
//!
//! A schema can say so in many places at once; one of them is enough, whether or not its branch of an `anyOf` holds.

use serde_json::Value;

/// What stands in place of a secret.
pub const MASK: &str = "\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}";

/// A shorter value is not looked for in other texts: it would be found in too many.
const SHORTEST: usize = 4;

/// A line of a longer secret is looked for by itself from this length on: a program writes a key line by line.
const SHORTEST_LINE: usize = 8;

/// Schemas that hold for a value as well as the one that names them.
const BESIDE: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const BRANCHES: [&str; 3] = ["if", "then", "else"];

/// Whether this schema, without those that it names, marks its value as one to hide.
pub fn is_secret(schema: &Value) -> bool {
    schema["writeOnly"] == Value::Bool(true) || schema["format"] == "password"
}

/// The secret values among parameters, each with its JSON pointer.
pub fn secrets<'v>(schema: &Value, parameters: &'v Value) -> Vec<(String, &'v Value)> {
    let mut search = Search { root: schema, found: Vec::new() };
    search.look(&[schema], parameters, String::new());
    search.found
}

/// The parameters with the secret ones replaced, whatever their type and length.
pub fn without_secrets(schema: &Value, parameters: &Value) -> Value {
    let mut shown = parameters.clone();
    for (pointer, secret) in secrets(schema, parameters) {
        if let Some(place) = shown.pointer_mut(&pointer).filter(|_| !secret.is_null()) {
            *place = MASK.into();
        }
    }
    shown
}

/// Hides a run's secrets wherever they turn up: in a step's input, its output, an error, a log line.
#[derive(Clone, Debug, Default)]
pub struct Masker(Vec<String>);

impl Masker {
    /// The secrets among these parameters.
    pub fn new(schema: &Value, parameters: &Value) -> Self {
        let mut known = Vec::new();
        secrets(schema, parameters).into_iter().for_each(|(_, secret)| remember(secret, &mut known));
        // The longest first: one secret may begin with another.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        known.dedup();
        Self(known)
    }

    /// The secrets of a run.
    pub fn of(run: &crate::Run) -> Self {
        Self::new(run.plan.parameters(), &run.parameters)
    }

    /// The text without them.
    pub fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    /// The value with every text in it without them.
    pub fn value(&self, value: &Value) -> Value {
        if self.0.is_empty() {
            return value.clone();
        }
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                let field = |(name, field): (&String, &Value)| (self.text(name), self.value(field));
                fields.iter().map(field).collect::<serde_json::Map<_, _>>().into()
            }
            other => other.clone(),
        }
    }
}

fn remember(secret: &Value, known: &mut Vec<String>) {
    match secret {
        Value::String(text) => remember_text(text, known),
        Value::Number(number) => remember_text(&number.to_string(), known),
        Value::Array(items) => items.iter().for_each(|item| remember(item, known)),
        Value::Object(fields) => fields.values().for_each(|field| remember(field, known)),
        Value::Null | Value::Bool(_) => {}
    }
}

fn remember_text(secret: &str, known: &mut Vec<String>) {
    let trimmed = secret.trim();
    let whole = [secret, trimmed].into_iter().filter(|text| text.trim().len() >= SHORTEST);
    let lines = trimmed.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE);
    known.extend(whole.chain(lines).map(str::to_owned));
}

struct Search<'s, 'v> {
    root: &'s Value,
    found: Vec<(String, &'v Value)>,
}

impl<'s, 'v> Search<'s, 'v> {
    /// Looks at a value for which all of these schemas hold.
    fn look(&mut self, schemas: &[&'s Value], value: &'v Value, pointer: String) {
        let mut all = Vec::new();
        schemas.iter().for_each(|schema| self.with_named(schema, &mut all));
        if all.iter().any(|schema| is_secret(schema)) {
            self.found.push((pointer, value));
            return;
        }
        match value {
            Value::Object(fields) => {
                for (name, field) in fields {
                    let of_field: Vec<_> = all.iter().flat_map(|schema| of_property(schema, name)).collect();
                    self.look(&of_field, field, format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1")));
                }
            }
            Value::Array(items) => {
                for (at, item) in items.iter().enumerate() {
                    let of_item: Vec<_> = all.iter().flat_map(|schema| of_item(schema, at)).collect();
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
            let target = schema[name].as_str().and_then(|reference| self.target(reference));
            target.into_iter().for_each(|target| self.with_named(target, all));
        }
        let listed = BESIDE.iter().filter_map(|name| schema[name].as_array()).flatten();
        let branches = BRANCHES.iter().filter_map(|name| schema.get(name));
        let dependent = ["dependentSchemas", "dependencies"];
        let dependent = dependent.iter().filter_map(|name| schema[name].as_object()).flat_map(|each| each.values());
        listed.chain(branches).chain(dependent).for_each(|named| self.with_named(named, all));
    }

    /// What a reference within the document points to.
    fn target(&self, reference: &str) -> Option<&'s Value> {
        let fragment = reference.strip_prefix('#')?;
        if fragment.is_empty() || fragment.starts_with('/') {
            return self.root.pointer(&unescaped(fragment));
        }
        let named = |schema: &&Value| schema["$anchor"] == fragment || schema["$dynamicAnchor"] == fragment;
        let tables = ["$defs", "definitions"].into_iter().filter_map(|name| self.root[name].as_object());
        tables.flat_map(|table| table.values()).find(named)
    }
}

fn of_property<'s>(schema: &'s Value, name: &str) -> Vec<&'s Value> {
    let mut found: Vec<&Value> = schema["properties"].get(name).into_iter().collect();
    let patterns = schema["patternProperties"].as_object().into_iter().flatten();
    found.extend(patterns.filter(|(pattern, _)| matches(pattern, name)).map(|(_, schema)| schema));
    if found.is_empty() {
        found.extend(schema.get("additionalProperties"));
    }
    // What other schemas leave over is not worked out: too much is hidden rather than too little.
    found.extend(schema.get("unevaluatedProperties"));
    found
}

fn of_item(schema: &Value, at: usize) -> Vec<&Value> {
    let items = &schema["items"];
    // Older drafts have the list in `items`, and what follows in `additionalItems`.
    let first = schema["prefixItems"].as_array().or(items.as_array()).and_then(|first| first.get(at));
    let rest = if items.is_array() { schema.get("additionalItems") } else { schema.get("items") };
    let mut found: Vec<&Value> = first.or(rest).into_iter().collect();
    found.extend(schema.get("contains"));
    found.extend(schema.get("unevaluatedItems"));
    found
}

/// By the rules of the schemas themselves. A pattern that they do not understand is taken to match.
fn matches(pattern: &str, name: &str) -> bool {
    let schema = serde_json::json!({ "pattern": pattern });
    jsonschema::validator_for(&schema).map_or(true, |schema| schema.is_valid(&name.into()))
}

/// `%25` for `%`, as addresses have it.
fn unescaped(fragment: &str) -> String {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).filter(|_| first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
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
        let masker = Masker::new(&schema, &given);
        let shown =
            masker.value(&json!({ "command": ["login", "--password=hunter22"], "deep": { "a": "k3y-of-db" }, "n": 1 }));
        assert_eq!(shown, json!({ "command": ["login", format!("--password={MASK}")], "deep": { "a": MASK }, "n": 1 }));
        assert_eq!(masker.text("sent tok-1 to x"), format!("sent {MASK} to x"));
    }

    #[test]
    fn a_mark_is_found_wherever_a_schema_can_put_it() {
        let check = |schema: Value, given: Value, expect: &[&str]| {
            let found: Vec<_> = secrets(&schema, &given).into_iter().map(|(pointer, _)| pointer).collect();
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
            check(json!({ beside: [{}, { "properties": { "a": secret } }] }), given.clone(), &["/a"]);
            check(
                json!({ "properties": { "a": { beside: [{ "type": "integer" }, secret] } } }),
                given.clone(),
                &["/a"],
            );
        }
        for branch in BRANCHES {
            check(json!({ branch: { "properties": { "a": secret } } }), given.clone(), &["/a"]);
        }
        check(json!({ "dependentSchemas": { "b": { "properties": { "a": secret } } } }), given.clone(), &["/a"]);
        check(json!({ "properties": { "a": {} }, "additionalProperties": secret }), given.clone(), &["/b", "/x-y~1z"]);
        check(json!({ "patternProperties": { "^x-": secret } }), given.clone(), &["/x-y~1z"]);
        check(json!({ "properties": { "b": { "prefixItems": [secret] } } }), given.clone(), &["/b/0"]);
        check(json!({ "properties": { "b": { "prefixItems": [{}], "items": secret } } }), given.clone(), &["/b/1"]);
        check(json!({ "properties": { "b": { "items": [{}], "additionalItems": secret } } }), given.clone(), &["/b/1"]);
        check(json!({ "properties": { "a": true, "b": false } }), given, &[]);
    }

    #[test]
    fn a_schema_that_names_itself_has_an_end() {
        let schema = json!({
            "$ref": "#",
            "allOf": [{ "$ref": "#" }],
            "properties": { "child": { "$ref": "#" }, "key": { "writeOnly": true } },
        });
        let given = json!({ "child": { "child": { "key": "deep" } } });
        assert_eq!(secrets(&schema, &given), [("/child/child/key".to_owned(), &json!("deep"))]);
    }

    #[test]
    fn a_secret_of_several_lines_is_known_line_by_line() {
        let schema = json!({ "properties": { "key": { "writeOnly": true } } });
        let key = "-----BEGIN KEY-----\nMIIBVgIBADANBgkq\nhkiG9w0\n-----END KEY-----\n";
        let masker = Masker::new(&schema, &json!({ "key": key }));
        assert_eq!(masker.text("read MIIBVgIBADANBgkq, hkiG9w0"), format!("read {MASK}, hkiG9w0"));
        assert_eq!(masker.text(&format!("got {}", key.trim())), format!("got {MASK}"));
        assert_eq!(masker.text(&format!("got {}", key.replace('\n', "\\n"))).matches("MIIB").count(), 0);
    }
}
