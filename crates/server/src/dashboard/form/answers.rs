//! The contents of a form's fields, by field name: as posted, or as filled in from parameters.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use surefoot::workflow::{MASK, is_secret, without_secrets};

use super::secrets::without_masked;
use super::{ROOT, Shape, plain, properties, requires, shape};

/// The contents of the fields.
#[derive(Clone, Debug, Default)]
pub(in crate::dashboard) struct Answers {
    fields: BTreeMap<String, String>,
    /// The fields that held secrets.
    secrets: BTreeSet<String>,
}

impl FromIterator<(String, String)> for Answers {
    fn from_iter<T: IntoIterator<Item = (String, String)>>(pairs: T) -> Self {
        Self {
            fields: pairs.into_iter().collect(),
            secrets: BTreeSet::new(),
        }
    }
}

impl Answers {
    /// The fields filled in from parameters. `written` is the workflow's schema, `schema` its form
    /// as laid out by [`schema()`](super::schema()). Secrets and masked values are left out: a page
    /// never shows them again.
    pub(in crate::dashboard) fn of(written: &Value, schema: &Value, parameters: &Value) -> Self {
        let mut answers = Self::default();
        answers.fill(schema, ROOT, &without_secrets(written, parameters), true);
        answers
    }

    /// The fields filled in from the schema's defaults.
    pub(in crate::dashboard) fn defaults(schema: &Value) -> Self {
        let mut answers = Self::default();
        answers.fill_defaults(schema, ROOT);
        answers
    }

    pub(in crate::dashboard) fn get(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }

    /// Returns true if the field held a secret.
    pub(super) fn held_secret(&self, name: &str) -> bool {
        self.secrets.contains(name)
    }

    /// The trimmed text of a field; `None` if it is empty.
    pub(super) fn filled(&self, name: &str) -> Option<&str> {
        self.get(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
    }

    /// Returns true if a field at or below `place` is filled in. Markers of unticked boxes do not
    /// count.
    pub(super) fn any_under(&self, place: &str) -> bool {
        let under = |name: &str| {
            name.strip_prefix(place)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let is_filled = |(name, text): (&String, &String)| {
            !name.ends_with("/?") && !name.ends_with("/#") && !text.trim().is_empty()
        };
        self.fields
            .range(place.to_owned()..)
            .take_while(|(name, _)| name.starts_with(place))
            .any(|pair| under(pair.0) && is_filled(pair))
    }

    /// The number of rows of a table.
    pub(super) fn rows(&self, name: &str) -> usize {
        self.get(&format!("{name}/#"))
            .and_then(|count| count.parse().ok())
            .unwrap_or(0)
            .min(super::MAX_ROWS)
    }

    /// Adds an empty row.
    pub(in crate::dashboard) fn add_row(&mut self, name: &str) {
        let rows = self.rows(name) + 1;
        self.set(format!("{name}/#"), rows.to_string());
    }

    fn set(&mut self, name: String, text: String) {
        self.fields.insert(name, text);
    }

    fn fill_defaults(&mut self, schema: &Value, name: &str) {
        if let Some(default) = schema.get("default") {
            return self.fill(schema, name, default, true);
        }
        if shape(schema, true) == Shape::Group {
            for (field, schema) in properties(schema) {
                self.fill_defaults(schema, &format!("{name}/{field}"));
            }
        }
    }

    fn fill(&mut self, schema: &Value, name: &str, value: &Value, required: bool) {
        if value.is_null() {
            return;
        }
        if is_secret(schema) || *value == MASK {
            self.secrets.insert(name.to_owned());
            return;
        }
        match (shape(schema, required), value) {
            (Shape::Group, Value::Object(fields)) => {
                for (field, inner) in properties(schema) {
                    if let Some(value) = fields.get(field) {
                        self.fill(
                            inner,
                            &format!("{name}/{field}"),
                            value,
                            requires(schema, field),
                        );
                    }
                }
            }
            (Shape::Items, Value::Array(rows)) => {
                self.set(format!("{name}/#"), rows.len().to_string());
                for (index, row) in rows.iter().enumerate() {
                    let items = &schema["items"];
                    for (field, inner) in properties(items) {
                        self.fill(
                            inner,
                            &format!("{name}/{index}/{field}"),
                            &row[field],
                            requires(items, field),
                        );
                    }
                }
            }
            (Shape::Lines, Value::Array(_)) => {
                let lines = self.shown_part(name, value);
                let lines = lines
                    .as_array()
                    .into_iter()
                    .flatten()
                    .map(plain)
                    .collect::<Vec<_>>();
                self.set(name.to_owned(), lines.join("\n"));
            }
            (Shape::Json, Value::String(_)) => self.set(name.to_owned(), value.to_string()),
            (Shape::Json | Shape::Lines | Shape::Group | Shape::Items, value) => {
                let value = self.shown_part(name, value);
                self.set(
                    name.to_owned(),
                    serde_json::to_string_pretty(&value).unwrap_or_default(),
                );
            }
            (_, value) => self.set(name.to_owned(), plain(value)),
        }
    }

    /// The part of a value that a field may show.
    fn shown_part(&mut self, name: &str, value: &Value) -> Value {
        let (rest, removed) = without_masked(value);
        if removed {
            self.secrets.insert(name.to_owned());
        }
        rest.unwrap_or_default()
    }
}
