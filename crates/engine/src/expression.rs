//! Expressions in workflow files: `${{ parameters.name }}`, as in GitHub Actions and Backstage.
//!
//! The language between the braces is MiniJinja's: paths, literals, comparisons, `and`/`or`/`not`, filters. A string that
//! is one expression and nothing else takes the expression's value with its type; any other string takes its text.
//! What is undefined is an error, never an empty string.

pub mod language;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minijinja::{Environment, Expression};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{LimitError, MAX_VALUE_BYTES, check_condition, check_text, check_value};

/// What expressions see.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Scope {
    /// The run's parameters.
    pub parameters: Value,
    /// What earlier steps did, by step id.
    pub steps: BTreeMap<String, StepScope>,
    /// The run itself: `id`, `workflow`, `key`.
    pub run: Value,
}

/// What expressions see of an earlier step.
#[derive(Clone, Debug, Serialize)]
pub struct StepScope {
    /// `completed`, `skipped`.
    pub status: &'static str,
    /// What it gave; null when it was skipped.
    pub output: Value,
}

impl Scope {
    /// The scope as MiniJinja sees it.
    fn value(&self) -> Result<minijinja::Value, ExpressionError> {
        let through_json = serde_json::to_value(self).and_then(|json| minijinja::Value::deserialize(&json));
        through_json.map_err(|error| ExpressionError { source_text: "(scope)".to_owned(), message: error.to_string() })
    }
}

/// Why an expression has no value.
#[derive(Debug, thiserror::Error)]
#[error("{message} in `{source_text}`")]
pub struct ExpressionError {
    /// The text with the expression.
    source_text: String,
    message: String,
}

/// An expression that does more work than this is one that would not end in a reasonable time.
const FUEL: u64 = 1_000_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| language::environment(FUEL));

/// Replaces every expression in `value`, at any depth.
///
/// # Errors
/// Says which text has no value, and why.
pub fn render_value(value: &Value, scope: &Scope) -> Result<Value, ExpressionError> {
    if !mentions(value) {
        return Ok(value.clone());
    }
    let rendered = render_in(value, &scope.value()?)?;
    check_value(&rendered).map_err(|limit| beyond(&value.to_string(), &limit))?;
    Ok(rendered)
}

/// Replaces every expression in `text`.
///
/// # Errors
/// Says why there is no value.
pub fn render(text: &str, scope: &Scope) -> Result<String, ExpressionError> {
    if !text.contains("${{") {
        return Ok(text.to_owned());
    }
    render_to_text(text, scope.value()?)
}

fn render_to_text(text: &str, scope: minijinja::Value) -> Result<String, ExpressionError> {
    check_text(text).map_err(|limit| beyond(text, &limit))?;
    language::render(&ENVIRONMENT, text, scope, MAX_VALUE_BYTES).map_err(|error| failure(text, &error))
}

/// The value of a step's `if:`, which may be written with or without `${{ }}`.
///
/// # Errors
/// Says why there is no value.
pub fn truthy(condition: &str, scope: &Scope) -> Result<bool, ExpressionError> {
    let value = evaluate(bare(condition), condition, &scope.value()?)?;
    Ok(value.is_true())
}

pub(crate) fn mentions(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains("${{"),
        Value::Array(items) => items.iter().any(mentions),
        Value::Object(fields) => fields.values().any(mentions),
        _ => false,
    }
}

fn render_in(value: &Value, scope: &minijinja::Value) -> Result<Value, ExpressionError> {
    Ok(match value {
        Value::String(text) => render_text(text, scope)?,
        Value::Array(items) => items.iter().map(|item| render_in(item, scope)).collect::<Result<_, _>>()?,
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| Ok((name.clone(), render_in(field, scope)?)))
            .collect::<Result<_, ExpressionError>>()?,
        other => other.clone(),
    })
}

fn render_text(text: &str, scope: &minijinja::Value) -> Result<Value, ExpressionError> {
    let Some(expression) = sole_expression(text) else {
        return render_to_text(text, scope.clone()).map(Value::String);
    };
    let value = evaluate(expression, text, scope)?;
    language::to_json(&value).map_err(|error| failure(text, &error))
}

fn evaluate(expression: &str, text: &str, scope: &minijinja::Value) -> Result<minijinja::Value, ExpressionError> {
    let compiled = compile(expression, text)?;
    let value = compiled.eval(scope.clone()).map_err(|error| failure(text, &error))?;
    if value.is_undefined() {
        return Err(ExpressionError { source_text: text.to_owned(), message: "undefined value".to_owned() });
    }
    Ok(value)
}

fn compile<'a>(expression: &'a str, text: &str) -> Result<Expression<'a, 'a>, ExpressionError> {
    check_condition(expression).map_err(|limit| beyond(text, &limit))?;
    ENVIRONMENT.compile_expression(expression).map_err(|error| failure(text, &error))
}

/// The inside of a text that is one expression and nothing else.
fn sole_expression(text: &str) -> Option<&str> {
    let inside = text.strip_prefix("${{")?.strip_suffix("}}")?;
    (!inside.contains("${{") && !inside.contains("}}")).then(|| inside.trim())
}

fn bare(condition: &str) -> &str {
    sole_expression(condition.trim()).unwrap_or(condition).trim()
}

/// Every path that the expressions of `value` read, such as `steps.build.output`.
pub(crate) fn references(value: &Value) -> Result<BTreeSet<String>, ExpressionError> {
    let mut paths = BTreeSet::new();
    collect(value, &mut paths)?;
    Ok(paths)
}

/// Every path that a step's `if:` reads.
pub(crate) fn condition_references(condition: &str) -> Result<BTreeSet<String>, ExpressionError> {
    let compiled = compile(bare(condition), condition)?;
    Ok(compiled.undeclared_variables(true).into_iter().collect())
}

fn collect(value: &Value, paths: &mut BTreeSet<String>) -> Result<(), ExpressionError> {
    match value {
        Value::String(text) if text.contains("${{") => {
            check_text(text).map_err(|limit| beyond(text, &limit))?;
            let template = ENVIRONMENT.template_from_str(text).map_err(|error| failure(text, &error))?;
            paths.extend(template.undeclared_variables(true));
            Ok(())
        }
        Value::Array(items) => items.iter().try_for_each(|item| collect(item, paths)),
        Value::Object(fields) => fields.values().try_for_each(|field| collect(field, paths)),
        _ => Ok(()),
    }
}

/// A text that is refused for a limit. It may be very long: the message quotes its beginning.
fn beyond(text: &str, limit: &LimitError) -> ExpressionError {
    ExpressionError { source_text: shortened(text), message: limit.to_string() }
}

/// Characters of a text that a message quotes.
const QUOTED: usize = 120;

fn shortened(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn failure(text: &str, error: &minijinja::Error) -> ExpressionError {
    let kind = error.kind().to_string();
    let message = error.detail().map_or(kind.clone(), |detail| format!("{kind}: {detail}"));
    ExpressionError { source_text: text.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let step = StepScope { status: "completed", output: json!({ "url": "file:///r", "count": 3 }) };
        Scope {
            parameters: json!({ "name": "shop", "gitops": false, "ports": [80, 443] }),
            steps: BTreeMap::from([("create".to_owned(), step)]),
            run: json!({ "id": "r" }),
        }
    }

    #[test]
    fn a_sole_expression_keeps_its_type_and_others_give_text() {
        let check = |text: &str, expect: Value| {
            assert_eq!(render_value(&json!({ "at": [text] }), &scope()).unwrap(), json!({ "at": [expect] }), "{text}");
        };
        check("${{ parameters.ports }}", json!([80, 443]));
        check("${{ steps.create.output.count }}", json!(3));
        check("${{ parameters.name }}-${{ steps.create.output.count }}", json!("shop-3"));
        check("${{ parameters.name | upper }}", json!("SHOP"));
        check("echo ${#name} ${{ parameters.name }}", json!("echo ${#name} shop"));
        check("$HOME ${NAME} {{ not_ours }} {% nor_this %}", json!("$HOME ${NAME} {{ not_ours }} {% nor_this %}"));
    }

    #[test]
    fn conditions_go_with_and_without_braces() {
        let check = |text: &str, expect: bool| assert_eq!(truthy(text, &scope()).unwrap(), expect, "{text}");
        check("parameters.name == 'shop'", true);
        check("${{ parameters.gitops }}", false);
        check("not parameters.gitops and steps.create.status == 'completed'", true);
    }

    #[test]
    fn what_is_undefined_is_an_error_that_shows_the_text() {
        let error = render_value(&json!("${{ parameters.nmae }}"), &scope()).unwrap_err().to_string();
        assert!(error.contains("undefined") && error.contains("parameters.nmae"), "{error}");
        assert!(render("x ${{ steps.gone.output }} y", &scope()).is_err());
    }

    #[test]
    fn references_name_what_is_read() {
        let value = json!({ "a": "${{ parameters.name }}", "b": ["${{ steps.create.output.url }}"] });
        let expect = ["parameters.name", "steps.create.output.url"].map(str::to_owned);
        assert_eq!(references(&value).unwrap(), BTreeSet::from(expect));
    }
}
