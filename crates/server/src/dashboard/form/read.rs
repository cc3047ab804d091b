//! Parses parameters from the answers of a form. Unsuitable values are passed on unchanged, so that
//! the engine's check reports them. Only unparsable ones are reported here.

use serde_json::{Map, Value};

use super::{Answers, ROOT, Shape, choices, plain, properties, requires, shape};

/// A value that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::dashboard) struct Fault {
    /// Same form as [`surefoot::workflow::ParameterError::parameter`].
    pub(in crate::dashboard) place: String,
    /// The key of the message.
    pub(in crate::dashboard) message: &'static str,
    /// The detail inserted into the message.
    pub(in crate::dashboard) detail: String,
}

/// The parameters of a form, and the values that cannot be parsed.
pub(in crate::dashboard) fn read(schema: &Value, answers: &Answers) -> (Value, Vec<Fault>) {
    let mut reader = Reader {
        answers,
        faults: Vec::new(),
    };
    let value = reader
        .value(schema, ROOT, true)
        .unwrap_or_else(|| Map::new().into());
    (value, reader.faults)
}

/// All fields of a form with their values. Empty or unparsable ones become an empty text, and every
/// row is included.
pub(super) fn all_fields(schema: &Value, answers: &Answers) -> Value {
    Reader {
        answers,
        faults: Vec::new(),
    }
    .all_fields(schema, ROOT, true)
}

struct Reader<'a> {
    answers: &'a Answers,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn all_fields(&mut self, schema: &Value, name: &str, required: bool) -> Value {
        match shape(schema, required) {
            Shape::Group => {
                let field = |(field, inner): (&String, &Value)| {
                    (
                        field.clone(),
                        self.all_fields(inner, &format!("{name}/{field}"), requires(schema, field)),
                    )
                };
                properties(schema).map(field).collect::<Map<_, _>>().into()
            }
            Shape::Items => {
                let rows = 0..self.answers.rows(name).max(1);
                rows.map(|index| {
                    self.all_fields(&schema["items"], &format!("{name}/{index}"), true)
                })
                .collect()
            }
            _ => self
                .value(schema, name, required)
                .unwrap_or_else(|| "".into()),
        }
    }

    fn value(&mut self, schema: &Value, name: &str, required: bool) -> Option<Value> {
        match shape(schema, required) {
            Shape::Group => self.group(schema, name, required),
            Shape::Items => self.items(schema, name),
            Shape::Tick => self.tick(name),
            Shape::Lines => self.lines(name),
            Shape::Json => self.json(schema, name),
            Shape::Text => self.text(schema, name, required),
            kind => self
                .answers
                .filled(name)
                .map(|text| simple(kind, schema, text)),
        }
    }

    fn group(&mut self, schema: &Value, name: &str, required: bool) -> Option<Value> {
        if !required && name != ROOT && !self.answers.any_under(name) {
            return None;
        }
        let mut fields = Map::new();
        for (field, inner) in properties(schema) {
            if let Some(value) =
                self.value(inner, &format!("{name}/{field}"), requires(schema, field))
            {
                fields.insert(field.clone(), value);
            }
        }
        Some(fields.into())
    }

    /// A row without any filled field is skipped.
    fn items(&mut self, schema: &Value, name: &str) -> Option<Value> {
        self.answers.get(&format!("{name}/#"))?;
        let rows = (0..self.answers.rows(name)).map(|index| format!("{name}/{index}"));
        let rows = rows
            .filter(|row| self.answers.any_under(row))
            .collect::<Vec<_>>();
        // A list that was emptied is empty; one that never had a row keeps its default.
        let emptied = schema["default"]
            .as_array()
            .is_some_and(|rows| !rows.is_empty());
        (!rows.is_empty() || emptied).then(|| {
            rows.iter()
                .filter_map(|row| self.group(&schema["items"], row, true))
                .collect()
        })
    }

    /// In a table, a boolean is not a checkbox but a choice, with the value `false`.
    fn tick(&self, name: &str) -> Option<Value> {
        let text = self.answers.filled(name);
        let is_present = text.is_some() || self.answers.get(&format!("{name}/?")).is_some();
        is_present.then_some(Value::Bool(text.is_some_and(|text| text != "false")))
    }

    fn lines(&self, name: &str) -> Option<Value> {
        let text = self.answers.filled(name)?;
        Some(
            text.lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(Value::from)
                .collect(),
        )
    }

    fn text(&mut self, schema: &Value, name: &str, required: bool) -> Option<Value> {
        let text = self.answers.get(name).filter(|text| !text.is_empty());
        if text.is_none() && required && schema.get("default").is_none() {
            self.fault(name, "form.missing", String::new());
        }
        // Browsers send line ends as CR LF.
        text.map(|text| text.replace("\r\n", "\n").into())
    }

    /// Parses JSON. If the schema states no type, a plain word is a text.
    fn json(&mut self, schema: &Value, name: &str) -> Option<Value> {
        let text = self.answers.filled(name)?;
        match surefoot::from_json(text) {
            Ok(value) => Some(value),
            Err(_) if schema.get("type").is_none() && !text.starts_with(['{', '[', '"']) => {
                Some(text.into())
            }
            Err(error) => {
                self.fault(name, "form.no_json", error.to_string());
                None
            }
        }
    }

    fn fault(&mut self, name: &str, message: &'static str, detail: String) {
        let place = name
            .strip_prefix(ROOT)
            .unwrap_or(name)
            .trim_start_matches('/')
            .to_owned();
        self.faults.push(Fault {
            place,
            message,
            detail,
        });
    }
}

fn simple(kind: Shape, schema: &Value, text: &str) -> Value {
    match kind {
        Shape::Choice => choices(schema)
            .into_iter()
            .find(|value| plain(value) == text)
            .cloned()
            .unwrap_or(text.into()),
        Shape::TickOrNot => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => other.into(),
        },
        _ => match surefoot::from_json(text) {
            Ok(Value::Number(number)) => number.into(),
            _ => text.into(),
        },
    }
}
