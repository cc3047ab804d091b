//! What a form was told and does not say again: secrets, wherever in the parameters they are.

use serde_json::Value;
use surefoot::workflow::{MASK, is_secret};

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
            let fields = fields
                .iter()
                .filter_map(|(name, field)| Some((name.clone(), kept(field)?)));
            fields.collect::<serde_json::Map<_, _>>().into()
        }
        other => other.clone(),
    };
    (Some(rest), less)
}

/// Whether a mark stands anywhere in a schema, wherever it counts.
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
    fn what_is_masked_is_left_out() {
        let (rest, less) =
            without_masked(&json!({ "a": MASK, "b": [MASK, 1], "c": { "d": MASK } }));
        assert_eq!((rest, less), (Some(json!({ "b": [1], "c": {} })), true));
        assert_eq!(without_masked(&json!(MASK)), (None, true));
        assert_eq!(without_masked(&json!([null])), (Some(json!([null])), false));
    }
}
