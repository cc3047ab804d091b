//! Checks the fields of a step's `with` when its workflow is read. Only the names are checked,
//! since a value may still be an expression.

use serde_json::Value;
use surefoot::StepError;

/// The fields of an action's `with`.
pub(crate) struct Fields {
    /// Required fields.
    pub(crate) required: &'static [&'static str],
    /// Exactly one of these is required; nothing if empty.
    pub(crate) one_of: &'static [&'static str],
    /// Optional fields.
    pub(crate) optional: &'static [&'static str],
}

impl Fields {
    /// Returns an error for an unknown, missing or superfluous field.
    pub(crate) fn check(&self, with: &Value) -> Result<(), String> {
        let empty = serde_json::Map::new();
        let fields = match with {
            Value::Object(fields) => fields,
            Value::Null => &empty,
            // All of it comes from an expression, and is checked when the step runs.
            Value::String(text) if text.contains("${{") => return Ok(()),
            _ => {
                return Err(format!(
                    "`with` is not a map of fields: give {}",
                    self.list()
                ));
            }
        };
        if let Some(unknown) = fields
            .keys()
            .find(|name| !self.known().any(|known| known == name.as_str()))
        {
            return Err(format!(
                "unknown field `{unknown}`: the action takes {}",
                self.list()
            ));
        }
        if let Some(missing) = self
            .required
            .iter()
            .find(|name| !fields.contains_key(**name))
        {
            return Err(format!("field `{missing}` is missing"));
        }
        self.check_one_of(
            self.one_of
                .iter()
                .filter(|name| fields.contains_key(**name))
                .count(),
        )
    }

    fn check_one_of(&self, given: usize) -> Result<(), String> {
        match given {
            1 => Ok(()),
            _ if self.one_of.is_empty() => Ok(()),
            0 => Err(format!(
                "one of the fields {} is missing",
                quoted(self.one_of)
            )),
            _ => Err(format!(
                "only one of the fields {} may be given",
                quoted(self.one_of)
            )),
        }
    }

    fn known(&self) -> impl Iterator<Item = &'static str> {
        self.required
            .iter()
            .chain(self.one_of)
            .chain(self.optional)
            .copied()
    }

    fn list(&self) -> String {
        quoted(&self.known().collect::<Vec<_>>())
    }
}

/// A value in a place for text: YAML makes `PORT: 8080` a number. `what` names it in the error:
/// `the header \`x\``.
pub(crate) fn text(what: impl FnOnce() -> String, value: &Value) -> Result<String, StepError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        _ => Err(StepError::fatal(format!(
            "{} is not a text, a number or true or false",
            what()
        ))),
    }
}

fn quoted(names: &[&str]) -> String {
    names
        .iter()
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const FIELDS: Fields = Fields {
        required: &["url"],
        one_of: &["json", "body"],
        optional: &["timeout"],
    };

    #[test]
    fn fields_are_known_and_complete() {
        let check = |with: Value, expect: &str| {
            assert_eq!(
                FIELDS.check(&with).err().unwrap_or_default(),
                expect,
                "{with}"
            );
        };
        check(json!({ "url": "${{ parameters.url }}", "json": {} }), "");
        check(json!({ "url": "x", "body": "", "timeout": "1s" }), "");
        check(json!("${{ parameters.all }}"), "");
        check(
            json!({ "url": "x", "body": "", "ulr": 1 }),
            "unknown field `ulr`: the action takes `url`, `json`, `body`, `timeout`",
        );
        check(json!({ "body": "" }), "field `url` is missing");
        check(Value::Null, "field `url` is missing");
        check(
            json!({ "url": "x" }),
            "one of the fields `json`, `body` is missing",
        );
        check(
            json!({ "url": "x", "json": 1, "body": "" }),
            "only one of the fields `json`, `body` may be given",
        );
        check(
            json!([1]),
            "`with` is not a map of fields: give `url`, `json`, `body`, `timeout`",
        );
    }
}
