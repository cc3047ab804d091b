//! A form generated from a JSON Schema, and parameters parsed from its answers.
//!
//! A field's name is the path of its value, such as `p/environments/0/name`, so faults found by the
//! engine can be assigned to their fields. Parts of a schema that no field can express are entered
//! as JSON. Everything works on the schema as laid out by [`schema()`].

mod answers;
mod fields;
mod read;
mod schema;
mod secrets;

pub(super) use answers::Answers;
pub(super) use fields::{Field, fields, id};
pub(super) use read::read;
pub(super) use schema::schema;

use serde_json::Value;

/// The name of the field that stands for all parameters.
pub(super) const ROOT: &str = "p";
/// Limit of rows in a form. The engine checks the actual limit.
const MAX_ROWS: usize = 200;

/// The kind of input for a part of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// A choice from a list.
    Choice,
    /// A checkbox, for a boolean that has a default or is required.
    Tick,
    /// A choice of yes, no or nothing.
    TickOrNot,
    Integer,
    Number,
    Text,
    /// A list of texts, one per line.
    Lines,
    /// A list of objects with simple fields: a table.
    Items,
    /// An object with known fields.
    Group,
    Json,
}

fn shape(schema: &Value, required: bool) -> Shape {
    if schema.get("$ref").is_some() || schema.get(schema::AS_JSON).is_some() {
        return Shape::Json;
    }
    if schema["enum"].is_array() || schema.get("const").is_some() {
        return Shape::Choice;
    }
    match type_of(schema) {
        Some("boolean") if required || schema.get("default").is_some() => Shape::Tick,
        Some("boolean") => Shape::TickOrNot,
        Some("integer") => Shape::Integer,
        Some("number") => Shape::Number,
        Some("string") => Shape::Text,
        Some("array")
            if type_of(&schema["items"]) == Some("string")
                && schema["items"].get("enum").is_none() =>
        {
            Shape::Lines
        }
        Some("array") if is_flat(&schema["items"]) => Shape::Items,
        Some("object") if properties(schema).next().is_some() => Shape::Group,
        _ => Shape::Json,
    }
}

/// The single type of a value, apart from null.
fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(one) => Some(one),
        Value::Array(several) => {
            let mut others = several
                .iter()
                .filter_map(Value::as_str)
                .filter(|name| *name != "null");
            match (others.next(), others.next()) {
                (Some(only), None) => Some(only),
                _ => None,
            }
        }
        _ if schema["properties"].is_object() => Some("object"),
        _ => None,
    }
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    schema["properties"].as_object().into_iter().flatten()
}

fn requires(schema: &Value, name: &str) -> bool {
    schema["required"]
        .as_array()
        .is_some_and(|names| names.iter().any(|required| required == name))
}

/// Returns true for an object whose fields all fit table cells.
fn is_flat(schema: &Value) -> bool {
    let simple = |(name, field): (&String, &Value)| {
        matches!(
            shape(field, requires(schema, name)),
            Shape::Choice | Shape::Integer | Shape::Number | Shape::Text | Shape::TickOrNot
        ) || type_of(field) == Some("boolean")
    };
    shape(schema, true) == Shape::Group
        && (1..=6).contains(&properties(schema).count())
        && properties(schema).all(simple)
}

/// The options of an `enum` or `const`.
fn choices(schema: &Value) -> Vec<&Value> {
    schema["enum"].as_array().map_or_else(
        || schema.get("const").into_iter().collect(),
        |values| values.iter().collect(),
    )
}

/// A value as shown in a field: texts as they are, other values as JSON.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plain_schema() -> Value {
        json!({
            "type": "object", "required": ["name", "size"],
            "properties": {
                "name": { "type": "string", "pattern": "^[a-z]+$" },
                "size": { "enum": ["small", "large"] },
                "level": { "enum": [1, 2] },
                "port": { "type": "integer", "minimum": 1, "default": 80 },
                "ratio": { "type": "number" },
                "public": { "type": "boolean", "default": true },
                "maybe": { "type": "boolean" },
                "tags": { "type": "array", "items": { "type": "string" } },
                "rows": { "type": "array", "items": { "type": "object", "required": ["a"], "properties": {
                    "a": { "type": "string" }, "n": { "type": "integer", "default": 0 },
                    "on": { "type": "boolean", "default": true } } } },
                "place": { "type": "object", "required": ["host"], "properties": {
                    "host": { "type": "string" }, "tls": { "type": "boolean", "default": false } } },
                "free": { "type": "object" },
                "any": {},
            },
        })
    }

    fn posted(pairs: &[(&str, &str)]) -> Answers {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn parameters_survive_a_round_trip_through_a_form() {
        let given = json!({
            "name": "shop", "size": "large", "level": 2, "port": 8080, "ratio": 0.5, "public": false, "maybe": true,
            "tags": ["x", "y z"], "rows": [{ "a": "one", "n": 3, "on": false }, { "a": "two", "n": 0, "on": true }],
            "place": { "host": "h", "tls": true }, "free": { "deep": [1, { "er": null }] }, "any": [true],
        });
        let (read, faults) = read(
            &plain_schema(),
            &Answers::of(&plain_schema(), &plain_schema(), &given),
        );
        assert_eq!((read, faults), (given, Vec::new()));
    }

    #[test]
    fn empty_fields_are_left_out() {
        let answers = posted(&[
            ("p/name", "shop"),
            ("p/size", "small"),
            ("p/level", ""),
            ("p/port", ""),
            ("p/ratio", " "),
            ("p/public/?", "1"),
            ("p/maybe", ""),
            ("p/tags", " \n"),
            ("p/rows/#", "2"),
            ("p/rows/0/a", ""),
            ("p/rows/1/a", ""),
            ("p/rows/1/n", ""),
            ("p/place/host", ""),
            ("p/place/tls/?", "1"),
            ("p/free", ""),
            ("p/any", ""),
        ]);
        let (read, faults) = read(&plain_schema(), &answers);
        assert_eq!(
            (read, faults),
            (
                json!({ "name": "shop", "size": "small", "public": false }),
                Vec::new()
            )
        );
    }

    #[test]
    fn a_fault_names_its_field() {
        let answers = posted(&[
            ("p/name", ""),
            ("p/size", "huge"),
            ("p/port", "many"),
            ("p/free", "{oops"),
            ("p/any", "word"),
        ]);
        let (read, faults) = read(&plain_schema(), &answers);
        let names = faults
            .iter()
            .map(|fault| fault.place.as_str())
            .collect::<Vec<_>>();
        assert_eq!(names, ["name", "free"]);
        // The engine's own check has better messages for these.
        assert_eq!(
            (&read["port"], &read["size"], &read["any"]),
            (&json!("many"), &json!("huge"), &json!("word"))
        );
    }

    #[test]
    fn fields_that_depend_on_another_are_shown_and_parsed() {
        let written = json!({
            "properties": { "card": { "type": "string" }, "address": { "$ref": "#/$defs/address" } },
            "dependentSchemas": { "card": { "required": ["holder"], "properties": { "holder": { "type": "string" } } } },
            "$defs": { "address": { "type": "object", "required": ["street"], "properties": {
                "street": { "type": "string" } } } },
        });
        let schema = schema(&written);
        let fields = fields(&written, &schema, &Answers::default(), &|_| None);
        let json = serde_json::to_value(&fields).unwrap();
        assert_eq!(
            (json[0]["required"].as_bool(), json[2]["required"].as_bool()),
            (Some(false), Some(false))
        );
        assert_eq!(
            (&json[2]["name"], &json[2]["depends"]),
            (&json!("p/holder"), &json!("p/card"))
        );
        assert_eq!(json[1]["fields"][0]["name"], "p/address/street");
        let answers = posted(&[
            ("p/card", "1"),
            ("p/holder", "ada"),
            ("p/address/street", "x"),
        ]);
        let (read, faults) = read(&schema, &answers);
        let expect = json!({ "card": "1", "address": { "street": "x" }, "holder": "ada" });
        assert_eq!((read, faults), (expect, Vec::new()));
    }

    #[test]
    fn secrets_are_not_shown_again() {
        let written = json!({ "properties": {
            "name": { "type": "string" },
            "key": { "$ref": "#/$defs/secret" },
            "free": { "type": "object", "properties": { "deep": { "type": "array", "items": { "type": "object", "properties": {
                "token": { "$ref": "#/$defs/secret" }, "at": { "type": "array" } } } } } },
            "login": { "type": "object", "writeOnly": true, "properties": { "user": { "type": "string" } } },
            "lines": { "type": "array", "items": { "type": "string", "format": "password" } },
        }, "$defs": { "secret": { "type": "string", "writeOnly": true } } });
        let schema = schema(&written);
        let given = json!({ "name": "shop", "key": "s3cret-1", "free": { "deep": [{ "token": "s3cret-2", "at": [7] }] },
                            "login": { "user": "s3cret-3" }, "lines": ["s3cret-4"] });
        let of_run = Answers::of(&written, &schema, &given);
        let deep = r#"[{"token":"s3cret-2","at":[7]}]"#;
        let sent = posted(&[
            ("p/name", "shop"),
            ("p/key", "s3cret-1"),
            ("p/free/deep", deep),
            ("p/login/user", "s3cret-3"),
            ("p/lines", "s3cret-4"),
        ]);
        let unreadable = posted(&[
            ("p/name", "shop"),
            ("p/key", "s3cret-1"),
            ("p/free/deep", &deep[1..]),
        ]);
        for (answers, least) in [(of_run, 4), (sent, 4), (unreadable, 2)] {
            let shown =
                serde_json::to_string(&fields(&written, &schema, &answers, &|_| None)).unwrap();
            assert!(!shown.contains("s3cret"), "{shown}");
            assert!(shown.contains("shop"), "{shown}");
            assert!(shown.matches(r#""again":true"#).count() >= least, "{shown}");
        }
    }

    #[test]
    fn secrets_are_found_wherever_the_schema_marks_them() {
        let secret = json!({ "type": "string", "writeOnly": true });
        let password = json!({ "format": "password" });
        let either = json!({ "properties": { "k": { "anyOf": [secret, { "type": "null" }] } } });
        let map = json!({ "properties": { "k": { "type": "object", "additionalProperties": password } } });
        let twice = json!({ "properties": { "k": { "type": "string", "format": "uri" } },
                            "allOf": [{ "properties": { "k": password } }] });
        let tree = json!({ "properties": { "k": { "$ref": "#/$defs/node" } }, "$defs": { "node": {
            "properties": { "child": { "$ref": "#/$defs/node" } }, "patternProperties": { "^x-": secret } } } });
        let table = json!({ "properties": { "k": { "type": "array", "items": { "type": "object",
            "properties": { "a": { "type": "string" } }, "allOf": [{ "properties": { "a": secret } }] } } } });
        let row = [("p/k/#", "2"), ("p/k/0/a", ""), ("p/k/1/a", "s3cret")];
        type Typed<'a> = &'a [(&'a str, &'a str)];
        let cases: [(Value, Typed<'_>, &str); 7] = [
            (either.clone(), &[("p/k", "s3cret")], "password"),
            (either, &[("p/k", "\"s3cret\"")], "password"),
            (map.clone(), &[("p/k", r#"{"A":"s3cret"}"#)], "text"),
            (map, &[("p/k", r#"{"A":"s3cret""#)], "text"),
            (twice, &[("p/k", "s3cret")], "password"),
            (
                tree,
                &[("p/k/child", r#"{"child":{"x-a":"s3cret","b":7}}"#)],
                "group",
            ),
            (table, &row, "items"),
        ];
        for (written, sent, kind) in cases {
            let schema = schema(&written);
            let empty = fields(&written, &schema, &Answers::default(), &|_| None);
            assert_eq!(empty[0].kind, kind, "from the start: {written}");
            let shown = serde_json::to_string(&fields(&written, &schema, &posted(sent), &|_| None))
                .unwrap();
            assert!(!shown.contains("s3cret"), "{shown}");
            assert!(shown.contains(r#""again":true"#), "{shown}");
        }
    }

    #[test]
    fn different_names_have_different_ids() {
        let names = [
            "p/a-b",
            "p/a/b",
            "p/a b",
            "p/\u{4e2d}",
            "p/\u{6587}",
            "p/a_b",
        ];
        let ids = names
            .iter()
            .map(|name| id(name))
            .collect::<std::collections::BTreeSet<_>>();
        assert_eq!(ids.len(), names.len(), "{ids:?}");
        assert_eq!(id("p/a_b/0"), "p-a_b-0");
    }

    #[test]
    fn fields_carry_constraints_for_the_browser() {
        let fields = fields(
            &plain_schema(),
            &plain_schema(),
            &Answers::default(),
            &|_| None,
        );
        let of = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
        assert_eq!(
            (of("p/name").pattern.as_deref(), of("p/name").required),
            (Some("[a-z]+"), true)
        );
        assert_eq!(
            (of("p/port").kind, of("p/port").min.as_deref()),
            ("number", Some("1"))
        );
        assert_eq!(
            of("p/size").options.len(),
            3,
            "a choice that must be made begins with none"
        );
        assert_eq!((of("p/rows").kind, of("p/rows").heads.len()), ("items", 3));
        assert_eq!(
            (of("p/place").kind, of("p/place").fields.len()),
            ("group", 2)
        );
        assert_eq!((of("p/free").kind, of("p/free").code), ("text", true));
    }
}
