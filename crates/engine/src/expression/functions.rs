//! The functions of expressions, and those that operators are translated to.

use std::cmp::Ordering;

use minijinja::value::{Rest, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Value};
use serde::Deserialize as _;

use super::conversions::{equal, folded, is_truthy, operand, order, to_text};
use super::language::to_json;
use crate::limits::{LimitError, MAX_VALUE_BYTES, check_value};

/// The functions by the names that workflows use; case does not matter.
pub(super) const NAMES: [&str; 7] = [
    "contains",
    "startsWith",
    "endsWith",
    "format",
    "join",
    "toJSON",
    "fromJSON",
];

/// Adds every function to an environment.
pub(super) fn add_to(environment: &mut Environment<'_>) {
    environment.add_function("__operand", operand);
    environment.add_function("__text", |value: Value| to_text(&value));
    environment.add_function("__factor", factor);
    environment.add_function("__not", |value: Value| !is_truthy(&value));
    environment.add_function("__eq", |left: Value, right: Value| equal(&left, &right));
    environment.add_function("__ne", |left: Value, right: Value| !equal(&left, &right));
    environment.add_function("__lt", |left: Value, right: Value| {
        order(&left, &right) == Some(Ordering::Less)
    });
    environment.add_function("__gt", |left: Value, right: Value| {
        order(&left, &right) == Some(Ordering::Greater)
    });
    environment.add_function("__le", |left: Value, right: Value| {
        order(&left, &right).is_some_and(Ordering::is_le)
    });
    environment.add_function("__ge", |left: Value, right: Value| {
        order(&left, &right).is_some_and(Ordering::is_ge)
    });
    environment.add_function("contains", contains);
    environment.add_function("startsWith", |text: Value, start: Value| {
        Ok::<_, Error>(folded(&to_text(&text)?).starts_with(&folded(&to_text(&start)?)))
    });
    environment.add_function("endsWith", |text: Value, end: Value| {
        Ok::<_, Error>(folded(&to_text(&text)?).ends_with(&folded(&to_text(&end)?)))
    });
    environment.add_function("format", format);
    environment.add_function("join", join);
    environment.add_function("toJSON", to_pretty_json);
    environment.add_function("fromJSON", from_json);
}

/// An operand of a product. A list is refused: `[[[1] * 1000] * 1000] * 1000` takes no memory, for
/// its items are shared, and hours to compare or to sort.
fn factor(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => Err(Error::new(
            ErrorKind::InvalidOperation,
            "a list or an object has no product",
        )),
        _ => Ok(value),
    }
}

/// Returns whether a list has an item that equals `item`, or a text has it within.
fn contains(search: Value, item: Value) -> Result<bool, Error> {
    if matches!(search.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return Ok(search.try_iter()?.any(|found| equal(&found, &item)));
    }
    Ok(folded(&to_text(&search)?).contains(&folded(&to_text(&item)?)))
}

/// `format('{0}-{1}', a, b)`; `{{` and `}}` stand for braces.
fn format(template: String, values: Rest<Value>) -> Result<String, Error> {
    let wrong =
        |message: &str| Error::new(ErrorKind::InvalidOperation, format!("`format` {message}"));
    let mut text = String::new();
    let mut rest = template.as_str();
    while let Some(at) = rest.find(['{', '}']) {
        add(&mut text, &rest[..at])?;
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix(brace) {
            add(&mut text, brace)?;
            rest = after;
            continue;
        }
        let (number, after) = rest
            .split_once('}')
            .ok_or_else(|| wrong("has a brace without its other half"))?;
        let value = number
            .parse::<usize>()
            .ok()
            .and_then(|number| values.get(number));
        let value = if brace == "{" { value } else { None };
        let value = value.ok_or_else(|| wrong(&format!("has no value for `{{{number}}}`")))?;
        add(&mut text, &to_text(value)?)?;
        rest = after;
    }
    add(&mut text, rest)?;
    Ok(text)
}

/// The items of a list as one text, with `,` or another separator between them.
pub(super) fn join(list: Value, separator: Option<String>) -> Result<String, Error> {
    if !matches!(list.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return to_text(&list);
    }
    let mut text = String::new();
    for (index, item) in list.try_iter()?.enumerate() {
        if index > 0 {
            add(&mut text, separator.as_deref().unwrap_or(","))?;
        }
        add(&mut text, &to_text(&item)?)?;
    }
    Ok(text)
}

fn add(text: &mut String, piece: &str) -> Result<(), Error> {
    if text.len() + piece.len() > MAX_VALUE_BYTES {
        let message = LimitError::Output(MAX_VALUE_BYTES).to_string();
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    text.push_str(piece);
    Ok(())
}

fn to_pretty_json(value: Value) -> Result<String, Error> {
    let json = to_json(&value)?;
    let invalid =
        |error: serde_json::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    serde_json::to_string_pretty(&json).map_err(invalid)
}

fn from_json(text: Value) -> Result<Value, Error> {
    let invalid = |message: String| {
        Error::new(
            ErrorKind::InvalidOperation,
            format!("`fromJSON`: {message}"),
        )
    };
    let json = crate::from_json(&to_text(&text)?)
        .map_err(|error| invalid(format!("the text is not JSON: {error}")))?;
    check_value(&json).map_err(|limit| invalid(limit.to_string()))?;
    Value::deserialize(&json).map_err(|error| invalid(error.to_string()))
}
