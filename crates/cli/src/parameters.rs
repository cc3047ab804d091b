//! Parameters from the command line: `-p key=value`, read by the type that the workflow's schema
//! gives the key.

use serde_json::{Map, Value};

use crate::errors::Failure;
use crate::near;

/// Reads `-p key=value` options against a JSON Schema.
pub(crate) fn parse(options: &[String], schema: &Value) -> Result<Map<String, Value>, Failure> {
    let mut parameters = Map::new();
    for option in options {
        let (key, text) = split(option)?;
        known(key, schema)?;
        if parameters
            .insert(key.to_owned(), typed(text, schema.pointer(&pointer(key))))
            .is_some()
        {
            return Err(Failure::usage(format!("parameter `{key}` is given twice"))
                .hint("keep one of them"));
        }
    }
    Ok(parameters)
}

/// Adds the parameters that have options of their own; `-p` may not say them again.
pub(crate) fn add(
    parameters: &mut Map<String, Value>,
    key: &str,
    value: Value,
    flag: &str,
) -> Result<(), Failure> {
    match parameters.insert(key.to_owned(), value) {
        None => Ok(()),
        Some(_) => Err(Failure::usage(format!(
            "parameter `{key}` is given twice: by -p and by {flag}"
        ))
        .hint("keep one of them")),
    }
}

/// Splits `key=value` at the first `=`.
pub(crate) fn split(option: &str) -> Result<(&str, &str), Failure> {
    match option.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key, value)),
        _ => Err(Failure::usage(format!("`{option}` is not KEY=VALUE"))
            .hint("write a parameter as -p key=value")),
    }
}

fn pointer(key: &str) -> String {
    format!("/properties/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn known(key: &str, schema: &Value) -> Result<(), Failure> {
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return Ok(());
    };
    let open = schema
        .get("additionalProperties")
        .is_some_and(|more| *more != Value::Bool(false))
        || schema.get("patternProperties").is_some();
    if open || properties.contains_key(key) {
        return Ok(());
    }
    let names = properties.keys().map(String::as_str).collect::<Vec<_>>();
    let near = near::did_you_mean(key, names.iter().copied());
    let message = format!("`{key}` is not a parameter of this workflow{near}");
    Err(Failure::usage(message).hint(format!("it has {}", near::quoted(&names).join(", "))))
}

/// A string stays a string where the schema allows one. Otherwise the text is read as JSON, and
/// left as it is when it is none: the schema's own complaint is then the best one.
fn typed(text: &str, schema: Option<&Value>) -> Value {
    let string = || Value::String(text.to_owned());
    if schema.is_some_and(allows_string) {
        return string();
    }
    match surefoot::from_json(text) {
        // A number with more digits than are kept is a text too: a schema that wants a number
        // refuses it, with the name of the parameter.
        Ok(Value::String(_)) | Err(_) => string(),
        // `1.10` is a number only where the schema says so; 1.1 is something else.
        Ok(Value::Number(number)) if number.to_string() != text && !wants_number(schema) => {
            string()
        }
        Ok(value) => value,
    }
}

fn wants_number(schema: Option<&Value>) -> bool {
    schema.is_some_and(|schema| schema.get("type").is_some() || schema.get("enum").is_some())
}

fn allows_string(schema: &Value) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == "string",
        Some(Value::Array(several)) => several.iter().any(|one| one == "string"),
        _ => schema
            .get("enum")
            .and_then(Value::as_array)
            .is_some_and(|values| values.iter().any(Value::is_string)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({ "type": "object", "properties": {
            "name": { "type": "string" }, "port": { "type": "integer" }, "public": { "type": "boolean" },
            "tags": { "type": "array" }, "size": { "enum": ["1", "2"] }, "any": {},
        }})
    }

    #[test]
    fn the_schema_decides_what_a_value_is() {
        let check = |option: &str, expect: Value| {
            let parsed = parse(&[option.to_owned()], &schema()).unwrap();
            assert_eq!(parsed.values().next(), Some(&expect), "{option}");
        };
        check("name=42", json!("42"));
        check("name=a=b", json!("a=b"));
        check("name=", json!(""));
        check("port=42", json!(42));
        check("port=many", json!("many"));
        check("public=true", json!(true));
        check("tags=[\"a\", 1]", json!(["a", 1]));
        check("size=1", json!("1"));
        check("any={\"a\": null}", json!({ "a": null }));
        check("any=1", json!(1));
        check("any=true", json!(true));
        for text in [
            "1.10",
            "1e10",
            "007",
            "12345678901234567890123",
            "-0",
            "1.0e0",
        ] {
            check(&format!("any={text}"), json!(text));
        }
        check(
            "port=12345678901234567890123",
            json!("12345678901234567890123"),
        );
        check(
            "tags=[3.141592653589793238]",
            json!(["3.141592653589793238"]),
        );
        check("any=\"quoted\"", json!("\"quoted\""));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_to_do() {
        let check = |options: &[&str], expect: &str| {
            let options = options
                .iter()
                .map(|option| (*option).to_owned())
                .collect::<Vec<_>>();
            assert_eq!(parse(&options, &schema()).unwrap_err().to_string(), expect);
        };
        check(
            &["name"],
            "error: `name` is not KEY=VALUE\nhint: write a parameter as -p key=value",
        );
        check(
            &["=x"],
            "error: `=x` is not KEY=VALUE\nhint: write a parameter as -p key=value",
        );
        check(
            &["port=1", "port=2"],
            "error: parameter `port` is given twice\nhint: keep one of them",
        );
        check(
            &["prot=1"],
            "error: `prot` is not a parameter of this workflow; did you mean `port`?\n\
             hint: it has `name`, `port`, `public`, `tags`, `size`, `any`",
        );
    }

    #[test]
    fn an_open_schema_takes_any_parameter() {
        for schema in [
            json!({ "type": "object" }),
            json!({ "properties": {}, "additionalProperties": true }),
        ] {
            assert_eq!(
                parse(&["x=1".to_owned()], &schema).unwrap(),
                *json!({ "x": 1 }).as_object().unwrap()
            );
        }
    }
}
