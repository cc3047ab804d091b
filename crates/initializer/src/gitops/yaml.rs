//! Writes YAML in which no text is mistaken for anything else: every string is quoted, so `no`,
//! `1e3` and `0123` stay text.

use serde_json::{Map, Value};

/// Keys that a YAML reader takes for a boolean or null.
const WORDS: [&str; 10] = [
    "y", "n", "yes", "no", "on", "off", "true", "false", "null", "none",
];

/// Several documents in one text.
pub(super) fn documents(documents: &[Value]) -> String {
    documents
        .iter()
        .map(document)
        .collect::<Vec<_>>()
        .join("---\n")
}

fn document(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => mapping(&mut text, map, 0),
        other => text.push_str(&format!("{}\n", scalar(other))),
    }
    text
}

fn mapping(text: &mut String, map: &Map<String, Value>, indent: usize) {
    for (name, value) in map {
        text.push_str(&format!("{:indent$}{}:", "", key(name)));
        nested(text, value, indent + 2);
    }
}

/// Writes the value of a key: on the same line if it is a scalar, otherwise below it.
fn nested(text: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            text.push('\n');
            mapping(text, map, indent);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            for item in items {
                listed(text, item, indent);
            }
        }
        other => text.push_str(&format!(" {}\n", scalar(other))),
    }
}

/// Writes an item of a list; the fields of a mapping are aligned after its dash.
fn listed(text: &mut String, item: &Value, indent: usize) {
    match item {
        Value::Object(map) if !map.is_empty() => {
            let mut fields = String::new();
            mapping(&mut fields, map, indent + 2);
            text.push_str(&format!("{:indent$}- {}", "", &fields[indent + 2..]));
        }
        other => text.push_str(&format!("{:indent$}- {}\n", "", scalar(other))),
    }
}

/// Writes a value on one line. JSON is YAML, and JSON quotes every string.
fn scalar(value: &Value) -> String {
    value.to_string()
}

fn key(name: &str) -> String {
    let is_plain = name.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"./-_".contains(&byte))
        && !WORDS.contains(&name.to_ascii_lowercase().as_str());
    if is_plain {
        name.to_owned()
    } else {
        scalar(&name.into())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_back_unchanged_and_looks_hand_written() {
        let value = json!({
            "kind": "Role",
            "metadata": { "name": "no", "labels": {}, "annotations": { "surefoot/run": "1e3", "on": "0123" } },
            "rules": [{ "apiGroups": ["", "apps"], "verbs": ["get"] }, "null", 7, true, []],
        });
        let text = documents(&[value.clone(), json!({ "a": "x" })]);
        let expect = "\
kind: \"Role\"
metadata:
  name: \"no\"
  labels: {}
  annotations:
    surefoot/run: \"1e3\"
    \"on\": \"0123\"
rules:
  - apiGroups:
      - \"\"
      - \"apps\"
    verbs:
      - \"get\"
  - \"null\"
  - 7
  - true
  - []
---
a: \"x\"
";
        assert_eq!(text, expect);
        assert_eq!(
            serde_saphyr::from_multiple::<Value>(&text).unwrap(),
            [value, json!({ "a": "x" })]
        );
    }

    #[test]
    fn every_text_stays_a_text() {
        let texts = [
            "no",
            "NO",
            "on",
            "y",
            "true",
            "null",
            "~",
            "",
            "1e3",
            "0123",
            "0x1f",
            "1_000",
            "12:30",
            "- a",
            "a: b",
            "#x",
            "{{ x }}",
            "*a",
            "&a",
            "!t",
            "'",
            "\"",
            "\\",
            "a\nb",
            "\t",
            " a ",
            "é",
            "💡",
            ".inf",
            "2026-11-29",
            "<<",
        ];
        for text in texts {
            let value = json!({ "value": text, "list": [text], text: "key" });
            let written = documents(std::slice::from_ref(&value));
            assert_eq!(
                serde_saphyr::from_str::<Value>(&written).unwrap(),
                value,
                "{written}"
            );
        }
    }
}
