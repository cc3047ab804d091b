//! The fields of a form as the template renders them, including constraints that a browser can
//! check.

use serde::Serialize;
use serde_json::Value;
use surefoot::workflow::{MASK, without_secrets};

use super::secrets::{any_mark, without_masked};
use super::{Answers, ROOT, Shape, choices, plain, properties, read, requires, shape};

/// A field, or a group of fields.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::dashboard) struct Field {
    pub(super) id: String,
    pub(super) name: String,
    /// The type of the input, or `select`, `text`, `items`, `group`.
    pub(super) kind: &'static str,
    title: String,
    hint: Option<String>,
    error: Option<String>,
    describedby: Option<String>,
    pub(super) required: bool,
    /// The fields that make this one required when they are filled in.
    depends: Option<String>,
    value: String,
    /// True if the value was secret: it is not shown and must be entered again.
    again: bool,
    #[serde(skip)]
    secret: bool,
    on: bool,
    pub(super) options: Vec<Choice>,
    pub(super) pattern: Option<String>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pub(super) min: Option<String>,
    max: Option<String>,
    step: Option<&'static str>,
    rows: usize,
    /// True if the value is JSON.
    pub(super) code: bool,
    /// Suggestions.
    list: Vec<String>,
    pub(super) fields: Vec<Field>,
    pub(super) heads: Vec<Head>,
    rows_of: Vec<Row>,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Choice {
    value: String,
    title: String,
    on: bool,
}

#[derive(Clone, Debug, Serialize)]
pub(super) struct Head {
    title: String,
    required: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Row {
    number: usize,
    cells: Vec<Field>,
}

/// Returns the message of the fault at a place.
pub(in crate::dashboard) type FaultAt<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The fields for all parameters. `written` is the workflow's schema, `schema` the one laid out for
/// the form.
///
/// Secrets are determined by the engine from `written`, since the laid-out schema lacks some of it.
pub(in crate::dashboard) fn fields(
    written: &Value,
    schema: &Value,
    answers: &Answers,
    fault: &FaultAt<'_>,
) -> Vec<Field> {
    let masked = without_secrets(written, &read::all_fields(schema, answers));
    let builder = FieldBuilder {
        answers,
        fault,
        has_secrets: any_mark(written),
    };
    match shape(schema, true) {
        Shape::Group => builder.group(schema, ROOT, &masked),
        // A workflow that has parameters without describing them.
        _ if schema.as_object().is_some_and(|schema| !schema.is_empty()) => {
            vec![builder.field(
                schema,
                ROOT,
                ROOT,
                FieldContext {
                    masked: &masked,
                    required: false,
                    depends: None,
                },
            )]
        }
        _ => Vec::new(),
    }
}

/// The context of a field.
struct FieldContext<'v> {
    required: bool,
    depends: Option<String>,
    /// The parameters as filled in, with secrets masked.
    masked: &'v Value,
}

struct FieldBuilder<'a> {
    answers: &'a Answers,
    fault: &'a FaultAt<'a>,
    /// True if any parameter is secret.
    has_secrets: bool,
}

impl FieldBuilder<'_> {
    fn group(&self, schema: &Value, name: &str, masked: &Value) -> Vec<Field> {
        let one = |(field, inner): (&String, &Value)| {
            let required = requires(schema, field);
            let depends = depends(schema, name, field);
            let masked = if *masked == MASK {
                masked
            } else {
                &masked[field]
            };
            self.field(
                inner,
                &format!("{name}/{field}"),
                field,
                FieldContext {
                    required,
                    depends,
                    masked,
                },
            )
        };
        properties(schema).map(one).collect()
    }

    fn field(&self, schema: &Value, name: &str, bare: &str, context: FieldContext<'_>) -> Field {
        let id = id(name);
        let (value, again) = self.shown(schema, name, &context);
        let hint = schema["description"].as_str().map(str::to_owned);
        let error = (self.fault)(
            name.strip_prefix(ROOT)
                .unwrap_or(name)
                .trim_start_matches('/'),
        );
        let parts = [
            ("hint", hint.is_some()),
            ("again", again),
            ("error", error.is_some()),
        ];
        let ids = parts.map(|(part, present)| present.then(|| format!("{id}-{part}")));
        let describedby = ids.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let mut field = Field {
            title: schema["title"]
                .as_str()
                .map_or_else(|| title_of(bare), str::to_owned),
            describedby: Some(describedby).filter(|ids| !ids.is_empty()),
            value,
            again,
            secret: *context.masked == MASK,
            name: name.to_owned(),
            id,
            hint,
            error,
            required: context.required,
            depends: context.depends,
            ..Field::default()
        };
        self.shape(schema, context.masked, &mut field);
        field
    }

    /// The value shown in a field, and whether a secret was left out of it.
    fn shown(&self, schema: &Value, name: &str, context: &FieldContext<'_>) -> (String, bool) {
        let shape = shape(schema, context.required);
        let text = self.answers.get(name).unwrap_or_default();
        let held = self.answers.held_secret(name);
        if text.trim().is_empty() || matches!(shape, Shape::Group | Shape::Items) {
            return (String::new(), held);
        }
        // Secrets cannot be located in invalid JSON.
        let unreadable = shape == Shape::Json && *context.masked == "";
        match without_masked(context.masked) {
            _ if unreadable && self.has_secrets => (String::new(), true),
            (_, false) => (text.to_owned(), held),
            (Some(rest), true) if shape == Shape::Json => (
                serde_json::to_string_pretty(&rest).unwrap_or_default(),
                true,
            ),
            (_, true) => (String::new(), true),
        }
    }

    fn shape(&self, schema: &Value, masked: &Value, field: &mut Field) {
        match shape(schema, field.required) {
            Shape::Choice => choice(schema, field),
            Shape::TickOrNot => yes_or_no(field),
            Shape::Tick => {
                (field.kind, field.on) = ("checkbox", !matches!(field.value.as_str(), "" | "false"))
            }
            Shape::Integer => number(schema, field, "1"),
            Shape::Number => number(schema, field, "any"),
            Shape::Text => text(schema, field),
            Shape::Lines => (field.kind, field.rows) = ("text", 4),
            Shape::Group => {
                (field.kind, field.fields) = ("group", self.group(schema, &field.name, masked));
            }
            Shape::Items => self.items(&schema["items"], masked, field),
            // A single line suffices.
            Shape::Json if field.secret && schema.get("type").is_none() => field.kind = "password",
            Shape::Json => {
                (field.kind, field.rows, field.code) =
                    ("text", field.value.lines().count().clamp(3, 16), true)
            }
        }
    }

    fn items(&self, schema: &Value, masked: &Value, field: &mut Field) {
        field.kind = "items";
        let rows = self.answers.rows(&field.name).max(1);
        let row = |index: usize| {
            let masked = if *masked == MASK {
                masked
            } else {
                &masked[index]
            };
            let mut cells = self.group(schema, &format!("{}/{index}", field.name), masked);
            // A row may be left empty as a whole, so its cells are not required; the table's head
            // marks what a filled row needs.
            for cell in &mut cells {
                cell.required = false;
                if cell.kind == "checkbox" {
                    yes_or_no(cell);
                }
            }
            Row {
                number: index + 1,
                cells,
            }
        };
        field.rows_of = (0..rows).map(row).collect();
        field.heads = self
            .group(schema, &field.name, &Value::Null)
            .into_iter()
            .map(|head| Head {
                required: head.required,
                title: head.title,
            })
            .collect();
    }
}

fn choice(schema: &Value, field: &mut Field) {
    field.kind = "select";
    // An unknown value must not look like the first option.
    let is_option = choices(schema)
        .into_iter()
        .any(|value| plain(value) == field.value);
    let none = (!field.required || !is_option).then(|| (String::new(), String::new()));
    let all = choices(schema)
        .into_iter()
        .map(|value| (plain(value), plain(value)));
    let option = |(value, title): (String, String)| Choice {
        on: value == field.value,
        value,
        title,
    };
    field.options = none.into_iter().chain(all).map(option).collect();
}

fn yes_or_no(field: &mut Field) {
    field.kind = "select";
    let option = |value: &str| Choice {
        on: value == field.value,
        value: value.to_owned(),
        title: value.to_owned(),
    };
    field.options = ["", "true", "false"].map(option).to_vec();
}

fn number(schema: &Value, field: &mut Field, step: &'static str) {
    let bound = |name: &str| {
        schema
            .get(name)
            .filter(|bound| bound.is_number())
            .map(Value::to_string)
    };
    field.kind = "number";
    // Browsers have no exclusive bounds; the server checks those.
    field.min = bound("minimum").or_else(|| bound("exclusiveMinimum"));
    field.max = bound("maximum").or_else(|| bound("exclusiveMaximum"));
    field.step = Some(step);
}

fn text(schema: &Value, field: &mut Field) {
    field.min_length = schema["minLength"].as_u64().filter(|min| *min > 0);
    field.max_length = schema["maxLength"].as_u64();
    field.list = schema["examples"]
        .as_array()
        .into_iter()
        .flatten()
        .map(plain)
        .collect();
    field.kind = match schema["format"].as_str() {
        _ if field.secret => "password",
        Some("email") => "email",
        Some("uri" | "url") => "url",
        Some("date") => "date",
        _ if field.max_length.is_some_and(|max| max > 200) || field.value.contains('\n') => {
            "textarea"
        }
        _ => "text-line",
    };
    (field.kind, field.rows) = match field.kind {
        "textarea" => ("text", 3),
        "text-line" => ("line", 0),
        other => (other, 0),
    };
    if field.kind != "text" {
        field.pattern = schema["pattern"].as_str().and_then(for_browser);
    }
}

/// Converts a schema's pattern, which may match any part, to a browser's `pattern`, which must
/// match the whole text.
fn for_browser(pattern: &str) -> Option<String> {
    // Syntax that browsers read differently is left to the server.
    if pattern.contains("(?") && !pattern.contains("(?:") {
        return None;
    }
    let (begins, pattern) = pattern
        .strip_prefix('^')
        .map_or((false, pattern), |rest| (true, rest));
    let ends = pattern.ends_with('$') && !pattern.ends_with("\\$");
    let inner = if ends {
        &pattern[..pattern.len() - 1]
    } else {
        pattern
    };
    if begins && ends && !inner.contains('|') {
        return Some(inner.to_owned());
    }
    Some(format!(
        "{}(?:{inner}){}",
        if begins { "" } else { ".*" },
        if ends { "" } else { ".*" }
    ))
}

/// The fields that this one depends on, by `dependentRequired` or the older `dependencies`.
fn depends(schema: &Value, name: &str, field: &str) -> Option<String> {
    let lists = ["dependentRequired", "dependencies"]
        .into_iter()
        .filter_map(|word| schema[word].as_object())
        .flatten();
    let needs = lists.filter(|(_, needed)| {
        needed
            .as_array()
            .is_some_and(|names| names.iter().any(|it| it == field))
    });
    let names = needs
        .map(|(other, _)| format!("{name}/{other}"))
        .collect::<Vec<_>>();
    (!names.is_empty()).then(|| names.join(" "))
}

/// A unique name that is valid as an `id` and in a fragment.
pub(in crate::dashboard) fn id(name: &str) -> String {
    let mut id = String::with_capacity(name.len());
    for letter in name.chars() {
        match letter {
            '/' => id.push('-'),
            '_' => id.push('_'),
            letter if letter.is_ascii_alphanumeric() => id.push(letter),
            other => id.push_str(&format!("_x{:x}_", u32::from(other))),
        }
    }
    id
}

/// Turns `template_ref` into `Template ref`.
fn title_of(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}
