//! Parameters that a page must not show: those whose schema says `writeOnly: true` or `format: password`. Their values are
//! masked wherever they turn up on a page: in a step's input, its output, an error, a log line.

use serde_json::Value;

/// What stands in place of a secret.
pub(crate) const MASK: &str = "\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}\u{2022}";
/// A shorter value is not looked for in other texts: it would be found in too many.
const SHORTEST: usize = 4;

/// The secrets of one run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Masker(Vec<String>);

/// Whether the schema marks its value as one to hide.
pub(crate) fn is_secret(schema: &Value) -> bool {
    schema["writeOnly"] == Value::Bool(true) || schema["format"] == "password"
}

impl Masker {
    /// The secrets among these parameters.
    pub(crate) fn new(schema: &Value, parameters: &Value) -> Self {
        let mut found = Vec::new();
        collect(schema, parameters, &mut found);
        // The longest first: one secret may begin with another.
        found.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        Self(found)
    }

    pub(crate) fn text(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, secret| text.replace(secret.as_str(), MASK))
    }

    pub(crate) fn value(&self, value: &Value) -> Value {
        if self.0.is_empty() {
            return value.clone();
        }
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, field)| (name.clone(), self.value(field)))
                .collect::<serde_json::Map<_, _>>()
                .into(),
            other => other.clone(),
        }
    }
}

/// The parameters with the secret ones replaced, whatever their type and length.
pub(crate) fn parameters(schema: &Value, value: &Value) -> Value {
    if is_secret(schema) && !value.is_null() {
        return MASK.into();
    }
    match value {
        Value::Object(fields) => {
            let field =
                |(name, field): (&String, &Value)| (name.clone(), parameters(&schema["properties"][name], field));
            fields.iter().map(field).collect::<serde_json::Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(|item| parameters(&schema["items"], item)).collect(),
        other => other.clone(),
    }
}

fn collect(schema: &Value, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if is_secret(schema) => remember(text, found),
        Value::Number(number) if is_secret(schema) => remember(&number.to_string(), found),
        Value::Object(fields) if is_secret(schema) => fields.values().for_each(|field| collect(schema, field, found)),
        Value::Array(items) if is_secret(schema) => items.iter().for_each(|item| collect(schema, item, found)),
        Value::Object(fields) => {
            fields.iter().for_each(|(name, field)| collect(&schema["properties"][name], field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(&schema["items"], item, found)),
        _ => {}
    }
}

fn remember(secret: &str, found: &mut Vec<String>) {
    if secret.len() >= SHORTEST {
        found.push(secret.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_schema_marks_is_seen_nowhere() {
        let schema = json!({ "properties": {
            "name": { "type": "string" },
            "password": { "type": "string", "writeOnly": true },
            "database": { "properties": { "key": { "type": "string", "format": "password" }, "host": {} } },
            "tokens": { "items": { "writeOnly": true } },
        }});
        let given = json!({ "name": "shop", "password": "hunter22", "database": { "key": "k3y-of-db", "host": "db" },
                            "tokens": ["tok-1", "x"] });
        let masked = parameters(&schema, &given);
        assert_eq!(
            masked,
            json!({ "name": "shop", "password": MASK, "database": { "key": MASK, "host": "db" }, "tokens": [MASK, MASK] })
        );
        let masker = Masker::new(&schema, &given);
        let shown =
            masker.value(&json!({ "command": ["login", "--password=hunter22"], "deep": { "a": "k3y-of-db" }, "n": 1 }));
        assert_eq!(shown, json!({ "command": ["login", format!("--password={MASK}")], "deep": { "a": MASK }, "n": 1 }));
        assert_eq!(masker.text("sent tok-1 to x"), format!("sent {MASK} to x"));
    }
}
