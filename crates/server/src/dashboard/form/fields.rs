//! The fields of a form, as the template draws them: with what a browser can check by itself.

use serde::Serialize;
use serde_json::Value;

use super::{Answers, ROOT, Shape, choices, plain, properties, requires, shape};
use crate::dashboard::mask::is_secret;

/// One field, or a group of them.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::dashboard) struct Field {
    pub(super) id: String,
    pub(super) name: String,
    /// An input's type, or `select`, `text`, `items`, `group`.
    pub(super) kind: &'static str,
    title: String,
    hint: Option<String>,
    error: Option<String>,
    describedby: Option<String>,
    pub(super) required: bool,
    /// The fields which, when filled in, make this one required.
    depends: Option<String>,
    value: String,
    on: bool,
    pub(super) options: Vec<Choice>,
    pub(super) pattern: Option<String>,
    min_length: Option<u64>,
    max_length: Option<u64>,
    pub(super) min: Option<String>,
    max: Option<String>,
    step: Option<&'static str>,
    rows: usize,
    /// Whether it is JSON.
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

/// The fault at a place, in words.
pub(in crate::dashboard) type FaultAt<'a> = dyn Fn(&str) -> Option<String> + 'a;

/// The fields for all parameters.
pub(in crate::dashboard) fn fields(schema: &Value, answers: &Answers, fault: &FaultAt<'_>) -> Vec<Field> {
    let maker = Maker { answers, fault };
    match shape(schema, true) {
        Shape::Group => maker.group(schema, ROOT),
        // A workflow that says nothing of its parameters, and has them all the same.
        _ if schema.as_object().is_some_and(|schema| !schema.is_empty()) => {
            vec![maker.field(schema, ROOT, ROOT, false, None)]
        }
        _ => Vec::new(),
    }
}

struct Maker<'a> {
    answers: &'a Answers,
    fault: &'a FaultAt<'a>,
}

impl Maker<'_> {
    fn group(&self, schema: &Value, name: &str) -> Vec<Field> {
        let one = |(field, inner): (&String, &Value)| {
            let depends = depends(schema, name, field);
            self.field(inner, &format!("{name}/{field}"), field, requires(schema, field), depends)
        };
        properties(schema).map(one).collect()
    }

    fn field(&self, schema: &Value, name: &str, bare: &str, required: bool, depends: Option<String>) -> Field {
        let id = id(name);
        let hint = schema["description"].as_str().map(str::to_owned);
        let error = (self.fault)(name.strip_prefix(ROOT).unwrap_or(name).trim_start_matches('/'));
        let named = [hint.as_ref().map(|_| format!("{id}-hint")), error.as_ref().map(|_| format!("{id}-error"))];
        let describedby = named.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let mut field = Field {
            title: schema["title"].as_str().map_or_else(|| title_of(bare), str::to_owned),
            describedby: Some(describedby).filter(|ids| !ids.is_empty()),
            value: self.answers.get(name).unwrap_or_default().to_owned(),
            name: name.to_owned(),
            id,
            hint,
            error,
            required,
            depends,
            ..Field::default()
        };
        self.shape(schema, &mut field);
        field
    }

    fn shape(&self, schema: &Value, field: &mut Field) {
        match shape(schema, field.required) {
            Shape::Choice => choice(schema, field),
            Shape::TickOrNot => yes_or_no(field),
            Shape::Tick => (field.kind, field.on) = ("checkbox", !field.value.is_empty()),
            Shape::Integer => number(schema, field, "1"),
            Shape::Number => number(schema, field, "any"),
            Shape::Text => text(schema, field),
            Shape::Lines => (field.kind, field.rows) = ("text", 4),
            Shape::Group => (field.kind, field.fields) = ("group", self.group(schema, &field.name)),
            Shape::Items => self.items(&schema["items"], field),
            Shape::Json => {
                (field.kind, field.rows, field.code) = ("text", field.value.lines().count().clamp(3, 16), true)
            }
        }
    }

    fn items(&self, schema: &Value, field: &mut Field) {
        field.kind = "items";
        let rows = self.answers.rows(&field.name).max(1);
        let row = |index: usize| {
            let mut cells = self.group(schema, &format!("{}/{index}", field.name));
            // A row may be left empty as a whole; the table's head says what a filled one needs.
            cells.iter_mut().for_each(|cell| {
                cell.required = false;
                if cell.kind == "checkbox" {
                    yes_or_no(cell);
                }
            });
            Row { number: index + 1, cells }
        };
        field.rows_of = (0..rows).map(row).collect();
        field.heads = self
            .group(schema, &field.name)
            .into_iter()
            .map(|head| Head { required: head.required, title: head.title })
            .collect();
    }
}

fn choice(schema: &Value, field: &mut Field) {
    field.kind = "select";
    // What is none of the choices must not look like the first of them.
    let known = choices(schema).into_iter().any(|value| plain(value) == field.value);
    let none = (!field.required || !known).then(|| (String::new(), String::new()));
    let all = choices(schema).into_iter().map(|value| (plain(value), plain(value)));
    let option = |(value, title): (String, String)| Choice { on: value == field.value, value, title };
    field.options = none.into_iter().chain(all).map(option).collect();
}

fn yes_or_no(field: &mut Field) {
    field.kind = "select";
    let option = |value: &str| Choice { on: value == field.value, value: value.to_owned(), title: value.to_owned() };
    field.options = ["", "true", "false"].map(option).to_vec();
}

fn number(schema: &Value, field: &mut Field, step: &'static str) {
    let bound = |name: &str| schema.get(name).filter(|bound| bound.is_number()).map(Value::to_string);
    field.kind = "number";
    // A browser knows no exclusive bounds; the server's check does.
    field.min = bound("minimum").or_else(|| bound("exclusiveMinimum"));
    field.max = bound("maximum").or_else(|| bound("exclusiveMaximum"));
    field.step = Some(step);
}

fn text(schema: &Value, field: &mut Field) {
    field.min_length = schema["minLength"].as_u64().filter(|least| *least > 0);
    field.max_length = schema["maxLength"].as_u64();
    field.list = schema["examples"].as_array().into_iter().flatten().map(plain).collect();
    field.kind = match schema["format"].as_str() {
        _ if is_secret(schema) => "password",
        Some("email") => "email",
        Some("uri" | "url") => "url",
        Some("date") => "date",
        _ if field.max_length.is_some_and(|most| most > 200) || field.value.contains('\n') => "textarea",
        _ => "text-line",
    };
    (field.kind, field.rows) = match field.kind {
        "textarea" => ("text", 3),
        "text-line" => ("line", 0),
        other => (other, 0),
    };
    field.pattern = schema["pattern"].as_str().and_then(for_browser).filter(|_| field.kind != "text");
}

/// A browser's `pattern` is held against the whole text, a schema's against any part of it.
fn for_browser(pattern: &str) -> Option<String> {
    // What a browser reads in another way is left to the server.
    if pattern.contains("(?") && !pattern.contains("(?:") {
        return None;
    }
    let (begins, pattern) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let ends = pattern.ends_with('$') && !pattern.ends_with("\\$");
    let inner = if ends { &pattern[..pattern.len() - 1] } else { pattern };
    if begins && ends && !inner.contains('|') {
        return Some(inner.to_owned());
    }
    Some(format!("{}(?:{inner}){}", if begins { "" } else { ".*" }, if ends { "" } else { ".*" }))
}

/// The fields that this one goes with: `dependentRequired`, and `dependencies` of older schemas.
fn depends(schema: &Value, name: &str, field: &str) -> Option<String> {
    let lists = ["dependentRequired", "dependencies"].into_iter().filter_map(|word| schema[word].as_object()).flatten();
    let needs = lists.filter(|(_, needed)| needed.as_array().is_some_and(|names| names.iter().any(|it| it == field)));
    let names = needs.map(|(other, _)| format!("{name}/{other}")).collect::<Vec<_>>();
    (!names.is_empty()).then(|| names.join(" "))
}

/// A name that is fit for `id` and a fragment.
pub(in crate::dashboard) fn id(name: &str) -> String {
    name.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' }).collect()
}

/// `template_ref` reads as `Template ref`.
fn title_of(name: &str) -> String {
    let words = name.replace(['_', '-'], " ");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
