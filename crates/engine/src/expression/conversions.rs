//! Conversions and comparisons as GitHub Actions documents them, and the text of a value: JSON
//! notation.

use std::cmp::Ordering;
use std::sync::Arc;

use minijinja::value::{Object, ObjectRepr, ValueKind};
use minijinja::{Error, ErrorKind, Value};

use super::language::to_json;

/// The text of a value: a string is itself, all else is JSON.
pub(super) fn to_text(value: &Value) -> Result<String, Error> {
    match value.as_str() {
        Some(text) => Ok(text.to_owned()),
        None if value.is_undefined() => Err(Error::from(ErrorKind::UndefinedError)),
        None => Ok(to_json(value)?.to_string()),
    }
}

/// Returns whether a value counts as true: all but `false`, `0`, `''`, `null` and what is
/// undefined. An empty list does.
pub(super) fn is_truthy(value: &Value) -> bool {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => false,
        ValueKind::Number => number(value).is_some_and(|number| number != 0.0),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => true,
        _ => value.is_true(),
    }
}

/// An operand of `&&` or `||`, which the engine then takes for true exactly when [`is_truthy`]
/// does.
pub(super) fn operand(value: Value) -> Value {
    match value.kind() {
        ValueKind::Undefined => Value::from(()),
        ValueKind::Seq if !value.is_true() => Value::from_object(Empty(ObjectRepr::Seq)),
        ValueKind::Map if !value.is_true() => Value::from_object(Empty(ObjectRepr::Map)),
        _ => value,
    }
}

/// An empty list or object that counts as true.
#[derive(Debug)]
struct Empty(ObjectRepr);

impl Object for Empty {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        self.0
    }

    fn is_true(self: &Arc<Self>) -> bool {
        true
    }
}

/// Loose equality: strings without regard to case, values of different types as numbers.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) => folded(left) == folded(right),
        _ if kind(left) == kind(right) => left == right,
        _ => matches!((number(left), number(right)), (Some(left), Some(right)) if left == right),
    }
}

/// The order of two values; `None` when one of them is no number, and nothing but `!=` holds of
/// them.
pub(super) fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left.as_str(), right.as_str()) {
        (Some(left), Some(right)) => Some(folded(left).cmp(&folded(right))),
        _ if left.is_number() && right.is_number() => left.partial_cmp(right),
        _ => number(left)?.partial_cmp(&number(right)?),
    }
}

/// A string as it is compared.
pub(super) fn folded(text: &str) -> String {
    text.to_uppercase()
}

/// The kind of a value as far as conversions tell kinds apart.
fn kind(value: &Value) -> ValueKind {
    match value.kind() {
        ValueKind::Undefined => ValueKind::None,
        ValueKind::Iterable => ValueKind::Seq,
        kind => kind,
    }
}

/// A value as a number; `None` stands for one that is none.
fn number(value: &Value) -> Option<f64> {
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => Some(0.0),
        ValueKind::Bool => Some(f64::from(u8::from(value.is_true()))),
        ValueKind::Number => f64::try_from(value.clone())
            .ok()
            .filter(|number| !number.is_nan()),
        ValueKind::String => text_as_number(value.as_str()?.trim()),
        _ => None,
    }
}

/// A number in any notation of JSON, in hexadecimal or in octal. An empty text is 0.
fn text_as_number(text: &str) -> Option<f64> {
    let radix = |digits: &str, radix| i32::from_str_radix(digits, radix).ok().map(f64::from);
    match text {
        "" => Some(0.0),
        _ if text.starts_with("0x") => radix(&text[2..], 16),
        _ if text.starts_with("0o") => radix(&text[2..], 8),
        _ => serde_json::from_str::<serde_json::Number>(text)
            .ok()?
            .as_f64(),
    }
}
