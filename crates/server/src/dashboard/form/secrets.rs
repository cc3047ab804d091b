//! What a form was told and does not say again: secrets, wherever in the parameters they are.

use serde_json::Value;

use super::properties;
use crate::dashboard::mask::{MASK, is_secret};

/// The value without what is masked in it, and whether that is less than all of it. `None` when it is all masked.
pub(super) fn without_masked(value: &Value) -> (Option<Value>, bool) {
    let mut less = false;
    let mut kept = |value: &Value| {
        let (kept, some_missing) = without_masked(value);
        less |= some_missing;
        kept
    };
    let rest = match value {
        Value::String(text) if text == MASK => return (None, true),
        Value::Array(items) => items.iter().filter_map(kept).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let fields = fields.iter().filter_map(|(name, field)| Some((name.clone(), kept(field)?)));
            fields.collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    };
    (Some(rest), less)
}

/// Whether the schema marks anything as one to hide.
pub(super) fn any(schema: &Value) -> bool {
    is_secret(schema) || properties(schema).any(|(_, field)| any(field)) || schema.get("items").is_some_and(any)
}

/// A text of the engine's, which shows values as JSON, without those that are masked.
pub(in crate::dashboard) fn hide(text: &str, value: &Value, masked: &Value) -> String {
    let mut secrets = Vec::new();
    collect(value, masked, &mut secrets);
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets.iter().fold(text.to_owned(), |text, secret| text.replace(secret, MASK))
}

fn collect(value: &Value, masked: &Value, found: &mut Vec<String>) {
    match (value, masked) {
        (Value::Object(fields), Value::Object(shown)) => {
            fields.iter().for_each(|(name, field)| collect(field, &shown[name], found));
        }
        (Value::Array(items), Value::Array(shown)) => {
            items.iter().zip(shown).for_each(|(item, shown)| collect(item, shown, found));
        }
        (Value::Object(fields), _) => fields.values().for_each(|field| collect(field, masked, found)),
        (Value::Array(items), _) => items.iter().for_each(|item| collect(item, masked, found)),
        (Value::Null | Value::Bool(_), _) => {}
        (value, masked) if value != masked => found.push(value.to_string()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::dashboard::mask;

    #[test]
    fn a_text_is_told_without_the_secrets_that_it_shows() {
        let schema = json!({ "properties": { "pin": { "writeOnly": true }, "login": { "writeOnly": true } } });
        let given = json!({ "pin": "a\"b", "login": { "token": 77, "ok": true }, "name": "ada" });
        let masked = mask::parameters(&schema, &given);
        let text = hide(&format!("{given} does not fit"), &given, &masked);
        assert!(!text.contains("a\\\"b") && !text.contains("77") && text.contains("ada"), "{text}");
    }

    #[test]
    fn what_is_masked_is_left_out() {
        let (rest, less) = without_masked(&json!({ "a": MASK, "b": [MASK, 1], "c": { "d": MASK } }));
        assert_eq!((rest, less), (Some(json!({ "b": [1], "c": {} })), true));
        assert_eq!(without_masked(&json!(MASK)), (None, true));
        assert_eq!(without_masked(&json!([null])), (Some(json!([null])), false));
    }
}
