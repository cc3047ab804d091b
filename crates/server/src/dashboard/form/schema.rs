//! A schema as a form can ask it: what stands elsewhere is brought to where it counts.
//!
//! What a local `$ref` or `allOf` says becomes part of the schema that names it. Fields that are there only under a
//! condition (`dependentSchemas`, `then`, `else`) become optional fields, since a form without script shows all it has;
//! those that go with another field are required once that one is filled in. A choice between shapes (`oneOf`, `anyOf`) that
//! brings fields of its own is asked as JSON. The engine checks by the schema as it was written.

use std::cell::Cell;

use serde_json::{Map, Value};

/// Marks what is asked as JSON. No schema has a word like it.
pub(super) const AS_JSON: &str = "$as-json";
/// References within references, and schemas that are looked at: a schema may name itself.
const DEEPEST: usize = 12;
const MOST: usize = 4000;

/// The schema as a form asks it.
pub(in crate::dashboard) fn schema(schema: &Value) -> Value {
    Expander {
        root: schema,
        left: Cell::new(MOST),
    }
    .expand(schema, &[])
}

struct Expander<'a> {
    root: &'a Value,
    left: Cell<usize>,
}

impl Expander<'_> {
    /// `inside` are the references that led here.
    fn expand(&self, schema: &Value, inside: &[&str]) -> Value {
        let Some(object) = schema.as_object().filter(|_| self.left.get() > 0) else {
            return schema.clone();
        };
        self.left.set(self.left.get() - 1);
        let mut whole = object.clone();
        self.expand_within(&mut whole, inside);
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let known = !inside.contains(&reference) && inside.len() < DEEPEST;
            // What cannot be found is left as it is, and asked as JSON.
            let Some(target) = self.find(reference).filter(|_| known) else {
                return whole.into();
            };
            let inside = [inside, &[reference]].concat();
            whole.remove("$ref");
            merge(&mut whole, self.expand(target, &inside));
        }
        for part in array(whole.remove("allOf")) {
            merge(&mut whole, self.expand(&part, inside));
        }
        self.conditions(&mut whole, inside);
        self.choices(&mut whole, inside);
        whole.into()
    }

    fn expand_within(&self, whole: &mut Map<String, Value>, inside: &[&str]) {
        if let Some(fields) = whole.get_mut("properties").and_then(Value::as_object_mut) {
            fields
                .values_mut()
                .for_each(|field| *field = self.expand(field, inside));
        }
        if let Some(items) = whole.get_mut("items") {
            *items = self.expand(items, inside);
        }
    }

    fn find(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    fn conditions(&self, whole: &mut Map<String, Value>, inside: &[&str]) {
        for word in ["dependentSchemas", "dependencies"] {
            let Some(Value::Object(parts)) = whole.get(word).cloned() else {
                continue;
            };
            for (field, part) in parts.iter().filter(|(_, part)| part.is_object()) {
                adopt(whole, self.expand(part, inside), Some(field));
            }
        }
        for word in ["then", "else"] {
            if let Some(part) = whole.get(word).cloned() {
                adopt(whole, self.expand(&part, inside), None);
            }
        }
    }

    fn choices(&self, whole: &mut Map<String, Value>, inside: &[&str]) {
        let parts = ["oneOf", "anyOf"]
            .into_iter()
            .flat_map(|word| array(whole.get(word).cloned()));
        let parts = parts
            .map(|part| self.expand(&part, inside))
            .collect::<Vec<_>>();
        let brings = |part: &Value| {
            let known = |name: &String| {
                whole
                    .get("properties")
                    .is_some_and(|fields| fields.get(name).is_some())
            };
            part.get(AS_JSON).is_some() || super::properties(part).any(|(name, _)| !known(name))
        };
        if parts.iter().any(brings) {
            whole.insert(AS_JSON.to_owned(), true.into());
        }
    }
}

fn array(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(parts)) => parts,
        _ => Vec::new(),
    }
}

/// Both hold. Where they say different things of one word, the browser goes by the first; the engine goes by both.
fn merge(whole: &mut Map<String, Value>, part: Value) {
    let Value::Object(part) = part else { return };
    for (word, value) in part {
        match (word.as_str(), whole.get_mut(&word)) {
            (_, None) => drop(whole.insert(word, value)),
            ("properties" | "dependentRequired", Some(Value::Object(known))) => {
                fields(known, value)
            }
            ("required", Some(Value::Array(known))) => names(known, value),
            (_, Some(_)) => {}
        }
    }
}

fn fields(known: &mut Map<String, Value>, more: Value) {
    let Value::Object(more) = more else { return };
    for (name, value) in more {
        match known.get_mut(&name) {
            Some(Value::Object(field)) => merge(field, value),
            Some(Value::Array(list)) => names(list, value),
            Some(_) => {}
            None => drop(known.insert(name, value)),
        }
    }
}

fn names(known: &mut Vec<Value>, more: Value) {
    let more = array(Some(more))
        .into_iter()
        .filter(|name| !known.contains(name))
        .collect::<Vec<_>>();
    known.extend(more);
}

/// Takes over the fields that are there only under a condition: when `field` is filled in, or as the engine finds.
fn adopt(whole: &mut Map<String, Value>, part: Value, field: Option<&str>) {
    let Value::Object(part) = part else { return };
    let mut needs = part.get("required").cloned().unwrap_or_default();
    if let (Some(needed), Some(always)) = (
        needs.as_array_mut(),
        whole.get("required").and_then(Value::as_array),
    ) {
        needed.retain(|name| !always.contains(name));
    }
    let mut taken = Map::new();
    for word in ["properties", "dependentRequired", AS_JSON] {
        taken.extend(part.get(word).map(|value| (word.to_owned(), value.clone())));
    }
    // A default would fill the field in, and so say something that holds only under the condition.
    taken
        .get_mut("properties")
        .into_iter()
        .for_each(without_defaults);
    if let Some(field) = field.filter(|_| needs.as_array().is_some_and(|needs| !needs.is_empty())) {
        merge(
            &mut taken,
            serde_json::json!({ "dependentRequired": { field: needs } }),
        );
    }
    merge(whole, taken.into());
}

fn without_defaults(fields: &mut Value) {
    for field in fields
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
    {
        field.remove("default");
        field
            .get_mut("properties")
            .into_iter()
            .for_each(without_defaults);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_elsewhere_is_brought_to_where_it_counts() {
        let written = json!({
            "type": "object",
            "required": ["name"],
            "properties": { "name": { "$ref": "#/$defs/name", "title": "Its name" }, "port": { "type": "integer" } },
            "allOf": [{ "required": ["size"], "properties": { "size": { "enum": ["s", "l"] }, "port": { "minimum": 1 } } }],
            "dependentSchemas": { "port": { "required": ["tls", "name"], "properties": {
                "tls": { "type": "boolean", "default": true } } } },
            "if": { "properties": { "size": { "const": "l" } } },
            "then": { "required": ["why"], "properties": { "why": { "type": "string", "default": "big" } } },
            "$defs": { "name": { "type": "string", "title": "A name", "minLength": 2 } },
        });
        let asked = schema(&written);
        let expect = json!({
            "name": { "title": "Its name", "type": "string", "minLength": 2 },
            "port": { "type": "integer", "minimum": 1 },
            "size": { "enum": ["s", "l"] },
            "tls": { "type": "boolean" },
            "why": { "type": "string" },
        });
        assert_eq!(asked["properties"], expect);
        assert_eq!(
            asked["required"],
            json!(["name", "size"]),
            "and no field that is there only under a condition"
        );
        assert_eq!(asked["dependentRequired"], json!({ "port": ["tls"] }));
    }

    #[test]
    fn what_cannot_be_laid_out_is_asked_as_json() {
        let tree = json!({ "properties": { "kids": { "items": { "$ref": "#" } }, "far": { "$ref": "https://x/y" } } });
        let asked = schema(&tree);
        assert!(
            asked["properties"]["kids"]["items"]
                .to_string()
                .contains("\"$ref\":\"#\""),
            "{asked}"
        );
        assert_eq!(asked["properties"]["far"]["$ref"], "https://x/y");
        let brings =
            json!({ "properties": { "a": {} }, "oneOf": [{ "properties": { "b": {} } }, {}] });
        assert_eq!(schema(&brings)[AS_JSON], true);
        let only_says_which = json!({ "properties": { "a": {}, "b": {} }, "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] });
        assert_eq!(schema(&only_says_which).get(AS_JSON), None);
    }

    #[test]
    fn a_schema_that_grows_without_end_is_cut() {
        let doubling = |next: usize| {
            json!({ "properties": {
            "a": { "$ref": format!("#/$defs/{next}") }, "b": { "$ref": format!("#/$defs/{next}") } } })
        };
        let defs = (0..40)
            .map(|at| (at.to_string(), doubling(at + 1)))
            .collect::<Map<_, _>>();
        assert!(
            schema(&json!({ "$ref": "#/$defs/0", "$defs": defs }))
                .to_string()
                .len()
                < 2_000_000
        );
    }
}
