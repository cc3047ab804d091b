//! Lays a schema out for a form by resolving references and combinations.
//!
//! Local `$ref`s and `allOf` are merged into the schema that contains them. Fields that exist only
//! conditionally (`dependentSchemas`, `then`, `else`) become optional, since a form without scripts
//! shows every field; those that depend on another field are required once that one is filled in. A
//! choice between shapes (`oneOf`, `anyOf`) with fields of its own is entered as JSON. The engine
//! validates against the original schema.

use std::cell::Cell;

use serde_json::{Map, Value};

/// Marks a part that is entered as JSON. No JSON Schema keyword has this name.
pub(super) const AS_JSON: &str = "$as-json";
/// Limits of nested references and of visited schemas, since a schema may refer to itself.
const MAX_DEPTH: usize = 12;
const MAX_SCHEMAS: usize = 4000;

/// The schema as laid out for a form.
pub(in crate::dashboard) fn schema(schema: &Value) -> Value {
    Expander {
        root: schema,
        left: Cell::new(MAX_SCHEMAS),
    }
    .expand(schema, &[])
}

struct Expander<'a> {
    root: &'a Value,
    left: Cell<usize>,
}

impl Expander<'_> {
    /// `inside` holds the references that led here.
    fn expand(&self, schema: &Value, inside: &[&str]) -> Value {
        let Some(object) = schema.as_object() else {
            return schema.clone();
        };
        if self.left.get() == 0 {
            return schema.clone();
        }
        self.left.set(self.left.get() - 1);
        let mut merged = object.clone();
        self.expand_within(&mut merged, inside);
        if let Some(reference) = object.get("$ref").and_then(Value::as_str) {
            let may_expand = !inside.contains(&reference) && inside.len() < MAX_DEPTH;
            // An unresolvable reference is left as it is and entered as JSON.
            let target = if may_expand {
                self.find(reference)
            } else {
                None
            };
            let Some(target) = target else {
                return merged.into();
            };
            let inside = [inside, &[reference]].concat();
            merged.remove("$ref");
            merge(&mut merged, self.expand(target, &inside));
        }
        for part in array(merged.remove("allOf")) {
            merge(&mut merged, self.expand(&part, inside));
        }
        self.conditions(&mut merged, inside);
        self.choices(&mut merged, inside);
        merged.into()
    }

    fn expand_within(&self, merged: &mut Map<String, Value>, inside: &[&str]) {
        if let Some(fields) = merged.get_mut("properties").and_then(Value::as_object_mut) {
            for field in fields.values_mut() {
                *field = self.expand(field, inside);
            }
        }
        if let Some(items) = merged.get_mut("items") {
            *items = self.expand(items, inside);
        }
    }

    fn find(&self, reference: &str) -> Option<&Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    fn conditions(&self, merged: &mut Map<String, Value>, inside: &[&str]) {
        for word in ["dependentSchemas", "dependencies"] {
            let Some(Value::Object(parts)) = merged.get(word).cloned() else {
                continue;
            };
            for (field, part) in parts.iter().filter(|(_, part)| part.is_object()) {
                add_conditional(merged, self.expand(part, inside), Some(field));
            }
        }
        for word in ["then", "else"] {
            if let Some(part) = merged.get(word).cloned() {
                add_conditional(merged, self.expand(&part, inside), None);
            }
        }
    }

    fn choices(&self, merged: &mut Map<String, Value>, inside: &[&str]) {
        let parts = ["oneOf", "anyOf"]
            .into_iter()
            .flat_map(|word| array(merged.get(word).cloned()));
        let parts = parts
            .map(|part| self.expand(&part, inside))
            .collect::<Vec<_>>();
        let has_own_fields = |part: &Value| {
            let known = |name: &String| {
                merged
                    .get("properties")
                    .is_some_and(|fields| fields.get(name).is_some())
            };
            part.get(AS_JSON).is_some() || super::properties(part).any(|(name, _)| !known(name))
        };
        if parts.iter().any(has_own_fields) {
            merged.insert(AS_JSON.to_owned(), true.into());
        }
    }
}

fn array(value: Option<Value>) -> Vec<Value> {
    match value {
        Some(Value::Array(parts)) => parts,
        _ => Vec::new(),
    }
}

/// Merges a part that applies in addition. If both define a keyword, the form uses the first; the
/// engine validates both.
fn merge(merged: &mut Map<String, Value>, part: Value) {
    let Value::Object(part) = part else { return };
    for (word, value) in part {
        match (word.as_str(), merged.get_mut(&word)) {
            (_, None) => drop(merged.insert(word, value)),
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

/// Adds the fields of a conditional part. `field` is the field whose presence is the condition;
/// without one, the engine evaluates the condition.
fn add_conditional(merged: &mut Map<String, Value>, part: Value, field: Option<&str>) {
    let Value::Object(part) = part else { return };
    let mut needs = part.get("required").cloned().unwrap_or_default();
    if let (Some(needed), Some(always)) = (
        needs.as_array_mut(),
        merged.get("required").and_then(Value::as_array),
    ) {
        needed.retain(|name| !always.contains(name));
    }
    let mut taken = Map::new();
    for word in ["properties", "dependentRequired", AS_JSON] {
        taken.extend(part.get(word).map(|value| (word.to_owned(), value.clone())));
    }
    // A default would fill the field in even when the condition does not hold.
    if let Some(fields) = taken.get_mut("properties") {
        without_defaults(fields);
    }
    if let Some(field) = field
        && needs.as_array().is_some_and(|needs| !needs.is_empty())
    {
        merge(
            &mut taken,
            serde_json::json!({ "dependentRequired": { field: needs } }),
        );
    }
    merge(merged, taken.into());
}

fn without_defaults(fields: &mut Value) {
    for field in fields
        .as_object_mut()
        .into_iter()
        .flat_map(Map::values_mut)
        .filter_map(Value::as_object_mut)
    {
        field.remove("default");
        if let Some(fields) = field.get_mut("properties") {
            without_defaults(fields);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_and_conditions_are_laid_out() {
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
        let laid_out = schema(&written);
        let expect = json!({
            "name": { "title": "Its name", "type": "string", "minLength": 2 },
            "port": { "type": "integer", "minimum": 1 },
            "size": { "enum": ["s", "l"] },
            "tls": { "type": "boolean" },
            "why": { "type": "string" },
        });
        assert_eq!(laid_out["properties"], expect);
        assert_eq!(
            laid_out["required"],
            json!(["name", "size"]),
            "and no field that is there only under a condition"
        );
        assert_eq!(laid_out["dependentRequired"], json!({ "port": ["tls"] }));
    }

    #[test]
    fn parts_that_cannot_be_laid_out_are_entered_as_json() {
        let tree = json!({ "properties": { "kids": { "items": { "$ref": "#" } }, "far": { "$ref": "https://x/y" } } });
        let laid_out = schema(&tree);
        assert!(
            laid_out["properties"]["kids"]["items"]
                .to_string()
                .contains("\"$ref\":\"#\""),
            "{laid_out}"
        );
        assert_eq!(laid_out["properties"]["far"]["$ref"], "https://x/y");
        let extended =
            json!({ "properties": { "a": {} }, "oneOf": [{ "properties": { "b": {} } }, {}] });
        assert_eq!(schema(&extended)[AS_JSON], true);
        let only_says_which = json!({ "properties": { "a": {}, "b": {} }, "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] });
        assert_eq!(schema(&only_says_which).get(AS_JSON), None);
    }

    #[test]
    fn the_expansion_of_a_schema_is_limited() {
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
