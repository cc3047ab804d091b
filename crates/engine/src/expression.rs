//! Expressions in workflow files: `${{ parameters.name }}`, as in GitHub Actions.
//!
//! Operators, conversions and functions are those of GitHub Actions; the filters, tests and
//! arithmetic of MiniJinja are there too. A string that is one expression and nothing else takes
//! the expression's value with its type; any other string takes its text, in JSON notation. What is
//! undefined is an error, never an empty string.

mod conversions;
mod functions;
#[cfg(test)]
mod fuzz_tests;
pub mod language;
#[cfg(test)]
mod limits_tests;
mod segments;
#[cfg(test)]
mod table_tests;
mod translate;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minijinja::Environment;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use segments::{Segment, split as split_expressions};
pub(crate) use translate::Path;
use translate::{Names, Translated, translate};

use crate::limits::{LimitError, MAX_VALUE_BYTES, check_condition, check_text, check_value};

/// Values that expressions can refer to.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Scope {
    /// The run's parameters.
    pub(crate) parameters: Value,
    /// Earlier steps, by step id.
    pub(crate) steps: BTreeMap<String, StepScope>,
    /// The run itself: `id`, `workflow`, `key`.
    pub(crate) run: Value,
}

/// An earlier step as expressions see it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct StepScope {
    /// `completed`, `skipped`.
    pub(crate) status: &'static str,
    /// Output of the step; null if it was skipped.
    pub(crate) output: Value,
}

impl Scope {
    /// The scope as MiniJinja sees it.
    fn value(&self) -> Result<minijinja::Value, ExpressionError> {
        let through_json =
            serde_json::to_value(self).and_then(|json| minijinja::Value::deserialize(&json));
        through_json.map_err(|error| ExpressionError {
            source_text: "(scope)".to_owned(),
            message: error.to_string(),
        })
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

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = language::environment(FUEL);
    functions::add_to(&mut environment);
    environment
});

/// Replaces every expression in `value`, at any depth.
///
/// # Errors
/// Says which text has no value, and why.
pub(crate) fn render_value(value: &Value, scope: &Scope) -> Result<Value, ExpressionError> {
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
pub(crate) fn render(text: &str, scope: &Scope) -> Result<String, ExpressionError> {
    if !text.contains("${{") {
        return Ok(text.to_owned());
    }
    render_to_text(text, &scope.value()?)
}

fn render_to_text(text: &str, scope: &minijinja::Value) -> Result<String, ExpressionError> {
    let mut rendered = String::new();
    for segment in split(text)? {
        match segment {
            Segment::Literal(literal) => rendered.push_str(literal),
            Segment::Expression(expression) => {
                let value = evaluate(expression, text, scope)?;
                rendered.push_str(
                    &conversions::to_text(&value).map_err(|error| failure(text, &error))?,
                );
            }
        }
        if rendered.len() > MAX_VALUE_BYTES {
            return Err(beyond(text, &LimitError::Output(MAX_VALUE_BYTES)));
        }
    }
    Ok(rendered)
}

/// The parts of a text that is within the limits.
fn split(text: &str) -> Result<Vec<Segment<'_>>, ExpressionError> {
    check_text(text).map_err(|limit| beyond(text, &limit))?;
    split_expressions(text).ok_or_else(|| {
        wrong(
            text,
            "an expression has no end: close it with `}}`".to_owned(),
        )
    })
}

/// The value of a step's `if:`, which may be written with or without `${{ }}`.
///
/// # Errors
/// Says why there is no value.
pub(crate) fn truthy(condition: &str, scope: &Scope) -> Result<bool, ExpressionError> {
    let value = evaluate(bare(condition), condition, &scope.value()?)?;
    Ok(conversions::is_truthy(&value))
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
        Value::Array(items) => items
            .iter()
            .map(|item| render_in(item, scope))
            .collect::<Result<_, _>>()?,
        Value::Object(fields) => fields
            .iter()
            .map(|(name, field)| Ok((name.clone(), render_in(field, scope)?)))
            .collect::<Result<_, ExpressionError>>()?,
        other => other.clone(),
    })
}

fn render_text(text: &str, scope: &minijinja::Value) -> Result<Value, ExpressionError> {
    if !text.contains("${{") {
        return Ok(text.into());
    }
    let [Segment::Expression(expression)] = split(text)?[..] else {
        return render_to_text(text, scope).map(Value::String);
    };
    let value = evaluate(expression, text, scope)?;
    language::to_json(&value).map_err(|error| failure(text, &error))
}

fn evaluate(
    expression: &str,
    text: &str,
    scope: &minijinja::Value,
) -> Result<minijinja::Value, ExpressionError> {
    let source = translated(expression, text, scope)?.source;
    let compiled = ENVIRONMENT
        .compile_expression(&source)
        .map_err(|error| failure(text, &error))?;
    let value = compiled
        .eval(scope.clone())
        .map_err(|error| failure(text, &error))?;
    if value.is_undefined() {
        return Err(wrong(text, "undefined value".to_owned()));
    }
    Ok(value)
}

fn translated(
    expression: &str,
    text: &str,
    names: &dyn Names,
) -> Result<Translated, ExpressionError> {
    check_condition(expression).map_err(|limit| beyond(text, &limit))?;
    translate(expression, names).map_err(|message| wrong(text, message))
}

/// The names of a value are its own.
impl Names for minijinja::Value {
    fn has(&self, path: &[String], name: &str) -> Option<bool> {
        let mut value = self.clone();
        for step in path {
            value = value.get_attr(step).ok()?;
        }
        Some(
            value
                .get_attr(name)
                .is_ok_and(|value| !value.is_undefined()),
        )
    }
}

/// The inside of a condition that is written as one expression, or the condition itself.
fn bare(condition: &str) -> &str {
    let condition = condition.trim();
    match split_expressions(condition).as_deref() {
        Some([Segment::Expression(expression)]) => expression,
        _ => condition,
    }
}

/// Names that are known before a run: parameters, when the workflow's schema lists them, and the
/// ids of earlier steps.
pub(crate) struct KnownNames<'a> {
    pub(crate) parameters: Option<&'a BTreeSet<&'a str>>,
    pub(crate) steps: &'a BTreeSet<&'a str>,
}

impl Names for KnownNames<'_> {
    fn has(&self, path: &[String], name: &str) -> Option<bool> {
        match path {
            [root] if root == "parameters" => Some(self.parameters?.contains(name)),
            [root] if root == "steps" => Some(self.steps.contains(name)),
            _ => None,
        }
    }
}

/// Every path that the expressions of `value` read, such as `steps.build.output`. What cannot be
/// compiled is an error.
pub(crate) fn references(
    value: &Value,
    names: &KnownNames<'_>,
) -> Result<BTreeSet<Path>, ExpressionError> {
    let mut paths = BTreeSet::new();
    collect(value, names, &mut paths)?;
    Ok(paths)
}

/// Every path that a step's `if:` reads.
pub(crate) fn condition_references(
    condition: &str,
    names: &KnownNames<'_>,
) -> Result<BTreeSet<Path>, ExpressionError> {
    expression_references(bare(condition), condition, names)
}

/// Returns true if an expression of `value` reads an earlier step, whose values the scope lacks.
pub(crate) fn reads_steps(value: &Value, scope: &Scope) -> Result<bool, ExpressionError> {
    if !mentions(value) {
        return Ok(false);
    }
    let mut paths = BTreeSet::new();
    collect(value, &scope.value()?, &mut paths)?;
    Ok(paths.iter().any(is_of_step))
}

/// Returns true if a step's `if:` reads an earlier step.
pub(crate) fn condition_reads_steps(
    condition: &str,
    scope: &Scope,
) -> Result<bool, ExpressionError> {
    let paths = expression_references(bare(condition), condition, &scope.value()?)?;
    Ok(paths.iter().any(is_of_step))
}

fn is_of_step(path: &Path) -> bool {
    path.first().is_some_and(|root| root == "steps")
}

fn expression_references(
    expression: &str,
    text: &str,
    names: &dyn Names,
) -> Result<BTreeSet<Path>, ExpressionError> {
    let Translated { source, paths } = translated(expression, text, names)?;
    ENVIRONMENT
        .compile_expression(&source)
        .map_err(|error| failure(text, &error))?;
    Ok(paths)
}

fn collect(
    value: &Value,
    names: &dyn Names,
    paths: &mut BTreeSet<Path>,
) -> Result<(), ExpressionError> {
    match value {
        Value::String(text) if text.contains("${{") => {
            for segment in split(text)? {
                if let Segment::Expression(expression) = segment {
                    paths.extend(expression_references(expression, text, names)?);
                }
            }
            Ok(())
        }
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| collect(item, names, paths)),
        Value::Object(fields) => fields
            .values()
            .try_for_each(|field| collect(field, names, paths)),
        _ => Ok(()),
    }
}

fn wrong(text: &str, message: String) -> ExpressionError {
    ExpressionError {
        source_text: shortened(text),
        message,
    }
}

/// A text that is refused for a limit. It may be very long: the message quotes its beginning.
fn beyond(text: &str, limit: &LimitError) -> ExpressionError {
    ExpressionError {
        source_text: shortened(text),
        message: limit.to_string(),
    }
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
    let message = error
        .detail()
        .map_or(kind.clone(), |detail| format!("{kind}: {detail}"));
    ExpressionError {
        source_text: text.to_owned(),
        message,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope() -> Scope {
        let step = StepScope {
            status: "completed",
            output: json!({ "url": "file:///r", "count": 3 }),
        };
        Scope {
            parameters: json!({ "name": "shop", "gitops": false, "ports": [80, 443] }),
            steps: BTreeMap::from([("create".to_owned(), step)]),
            run: json!({ "id": "r" }),
        }
    }

    #[test]
    fn a_sole_expression_keeps_its_type_and_others_give_text() {
        let check = |text: &str, expect: Value| {
            assert_eq!(
                render_value(&json!({ "at": [text] }), &scope()).unwrap(),
                json!({ "at": [expect] }),
                "{text}"
            );
        };
        check("${{ parameters.ports }}", json!([80, 443]));
        check("${{ steps.create.output.count }}", json!(3));
        check(
            "${{ parameters.name }}-${{ steps.create.output.count }}",
            json!("shop-3"),
        );
        check("${{ parameters.name | upper }}", json!("SHOP"));
        check(
            "echo ${#name} ${{ parameters.name }}",
            json!("echo ${#name} shop"),
        );
        check(
            "$HOME ${NAME} {{ not_ours }} {% nor_this %}",
            json!("$HOME ${NAME} {{ not_ours }} {% nor_this %}"),
        );
    }

    #[test]
    fn conditions_go_with_and_without_braces() {
        let check = |text: &str, expect: bool| {
            assert_eq!(truthy(text, &scope()).unwrap(), expect, "{text}")
        };
        check("parameters.name == 'shop'", true);
        check("${{ parameters.gitops }}", false);
        check(
            "not parameters.gitops and steps.create.status == 'completed'",
            true,
        );
    }

    #[test]
    fn what_is_undefined_is_an_error_that_shows_the_text() {
        let error = render_value(&json!("${{ parameters.nmae }}"), &scope())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("undefined") && error.contains("parameters.nmae"),
            "{error}"
        );
        assert!(render("x ${{ steps.gone.output }} y", &scope()).is_err());
    }

    #[test]
    fn references_name_what_is_read() {
        let value =
            json!({ "a": "${{ parameters.name }}", "b": ["${{ steps.create.output.url }}"] });
        let expect = ["parameters.name", "steps.create.output.url"].map(str::to_owned);
        let names = KnownNames {
            parameters: None,
            steps: &BTreeSet::from(["create"]),
        };
        let found = references(&value, &names)
            .unwrap()
            .into_iter()
            .map(|path| path.join("."));
        assert_eq!(found.collect::<BTreeSet<_>>(), BTreeSet::from(expect));
    }
}
