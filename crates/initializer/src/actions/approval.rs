//! `approval`: asks a person, and completes when they approve.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone};

use super::fields::Fields;

const FIELDS: Fields = Fields {
    required: &[],
    one_of: &["question", "message"],
    optional: &[],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    #[serde(alias = "message")]
    question: String,
}

pub(super) struct Approval;

#[async_trait]
impl StepHandler for Approval {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let Input { question } = context.input()?;
        // A rejection never gets here: it fails the step.
        match context.answer() {
            Some(answer) => Ok(Output::new(
                json!({ "approved_by": answer["by"], "note": answer["note"] }),
            )?
            .into()),
            None => Ok(Outcome::Ask {
                question,
                checkpoint: Value::Null,
            }),
        }
    }

    async fn undo(&self, _: StepContext) -> Result<Undone, StepError> {
        Ok(Undone::Nothing)
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }
}
