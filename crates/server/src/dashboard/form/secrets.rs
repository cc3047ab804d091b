//! Removes secrets from what a form shows again, wherever they are in the parameters.

use serde_json::Value;
use surefoot::workflow::{MASK, is_secret};

/// The value without its masked parts, and whether anything was removed. `None` if all of it is
/// masked.
pub(super) fn without_masked(value: &Value) -> (Option<Value>, bool) {
    let mut removed = false;
    let mut kept = |value: &Value| {
        let (kept, part_removed) = without_masked(value);
        removed |= part_removed;
        kept
    };
    let rest = match value {
        Value::String(text) if text == MASK => return (None, true),
        Value::Array(items) => items.iter().filter_map(kept).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .filter_map(|(name, field)| Some((name.clone(), kept(field)?)));
            fields.collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    };
    (Some(rest), removed)
}

/// Returns true if a schema marks anything as secret.
pub(super) fn any_mark(schema: &Value) -> bool {
    match schema {
        Value::Object(words) => is_secret(schema) || words.values().any(any_mark),
        Value::Array(parts) => parts.iter().any(any_mark),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn masked_values_are_left_out() {
        let (rest, removed) =
            without_masked(&json!({ "a": MASK, "b": [MASK, 1], "c": { "d": MASK } }));
        assert_eq!((rest, removed), (Some(json!({ "b": [1], "c": {} })), true));
        assert_eq!(without_masked(&json!(MASK)), (None, true));
        assert_eq!(without_masked(&json!([null])), (Some(json!([null])), false));
    }
}
