//! `sleep`: waits through any restart, without holding a worker.

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler, Undone, parse_duration};

use super::fields::Fields;

const FIELDS: Fields = Fields {
    required: &["duration"],
    one_of: &[],
    optional: &[],
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    duration: String,
}

pub(super) struct Sleep;

#[async_trait]
impl StepHandler for Sleep {
    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let input: Input = context.input()?;
        if context.checkpoint().is_some() {
            return Ok(Output::none().into());
        }
        let delay = parse_duration(&input.duration).map_err(StepError::fatal)?;
        Ok(Outcome::Sleep {
            delay,
            checkpoint: json!({ "slept": input.duration }),
        })
    }

    async fn undo(&self, _: StepContext) -> Result<Undone, StepError> {
        Ok(Undone::Nothing)
    }

    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)?;
        match with["duration"].as_str() {
            Some(duration) if !duration.contains("${{") => parse_duration(duration)
                .map(drop)
                .map_err(|error| format!("field duration: {error}")),
            _ => Ok(()),
        }
    }
}
