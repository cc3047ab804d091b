//! Limits of a JSON value: a parameter, an input, an output, a checkpoint, a record, a document.

use serde_json::Value;

use super::LimitError;

/// Levels of lists and objects within each other. Readers take 127, and a stored value is wrapped
/// in a few more than its own.
pub const MAX_NESTING: usize = 64;

/// Length of one value as JSON, about.
pub const MAX_VALUE_BYTES: usize = 16 << 20;

/// Length of all outputs of one run as JSON, about: they are read together whenever the run is.
pub const MAX_RUN_OUTPUT_BYTES: usize = 64 << 20;

/// Checks the size of all outputs of a run.
///
/// # Errors
/// [`LimitError::RunOutput`].
pub fn check_run_output<'a>(
    outputs: impl IntoIterator<Item = &'a Value>,
) -> Result<(), LimitError> {
    let mut left: Vec<&Value> = outputs.into_iter().collect();
    let mut bytes = 0;
    while let Some(value) = left.pop() {
        bytes += own_bytes(value);
        if bytes > MAX_RUN_OUTPUT_BYTES {
            return Err(LimitError::RunOutput);
        }
        match value {
            Value::Array(items) => left.extend(items),
            Value::Object(fields) => left.extend(fields.values()),
            _ => {}
        }
    }
    Ok(())
}

/// Checks the nesting and the size of a value. Takes no stack, however deep the value is.
///
/// # Errors
/// The limit that the value exceeds.
pub fn check_value(value: &Value) -> Result<(), LimitError> {
    let mut left = vec![(value, 0)];
    let mut bytes = 0;
    while let Some((value, depth)) = left.pop() {
        bytes += own_bytes(value);
        if bytes > MAX_VALUE_BYTES {
            return Err(LimitError::Size);
        }
        if depth >= MAX_NESTING && (value.is_array() || value.is_object()) {
            return Err(LimitError::Nesting);
        }
        match value {
            Value::Array(items) => left.extend(items.iter().map(|item| (item, depth + 1))),
            Value::Object(fields) => left.extend(fields.values().map(|field| (field, depth + 1))),
            _ => {}
        }
    }
    Ok(())
}

/// The length of a value as JSON without its items.
fn own_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len() + 2,
        Value::Array(items) => items.len() + 2,
        Value::Object(fields) => 2 + fields.keys().map(|name| name.len() + 4).sum::<usize>(),
        Value::Number(_) | Value::Bool(_) | Value::Null => 4,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nested(levels: usize) -> Value {
        (0..levels).fold(json!(1), |inside, level| {
            if level % 2 == 0 {
                json!([inside])
            } else {
                json!({ "a": inside })
            }
        })
    }

    #[test]
    fn nesting_is_limited_at_its_edge() {
        assert_eq!(check_value(&nested(MAX_NESTING)), Ok(()));
        assert_eq!(
            check_value(&nested(MAX_NESTING + 1)),
            Err(LimitError::Nesting)
        );
        assert_eq!(
            check_value(&json!({ "flat": 1, "deep": [nested(MAX_NESTING)] })),
            Err(LimitError::Nesting)
        );
    }

    #[test]
    fn size_counts_texts_names_and_items() {
        let text = "x".repeat(MAX_VALUE_BYTES - 2);
        assert_eq!(check_value(&Value::from(text.clone())), Ok(()));
        assert_eq!(check_value(&json!([text])), Err(LimitError::Size));
        assert_eq!(
            check_value(&json!({ "x".repeat(MAX_VALUE_BYTES): 1 })),
            Err(LimitError::Size)
        );
        assert_eq!(
            check_value(&json!(vec![0; MAX_VALUE_BYTES / 4])),
            Err(LimitError::Size)
        );
    }

    #[test]
    fn the_outputs_of_a_run_are_limited_together() {
        let quarter = json!(["x".repeat(MAX_RUN_OUTPUT_BYTES / 4 - 5)]);
        assert_eq!(check_run_output([&quarter; 4]), Ok(()));
        assert_eq!(check_run_output([&quarter; 5]), Err(LimitError::RunOutput));
    }

    #[test]
    fn every_accepted_value_can_be_read_back() {
        let text = json!({ "wrapped": [nested(MAX_NESTING)] }).to_string();
        assert!(serde_json::from_str::<Value>(&text).is_ok());
    }
}
